// Builds and signs one spend of each kind with bitcoinjs-lib; JSON in, JSON out.
// Usage: node spends.js scripts            -> the output scripts of each kind
//        node spends.js spend <coins JSON> -> signed transactions
'use strict';
const bitcoin = require('bitcoinjs-lib');
const ecc = require('tiny-secp256k1');
const { ECPairFactory } = require('ecpair');

bitcoin.initEccLib(ecc);
const ECPair = ECPairFactory(ecc);
const network = bitcoin.networks.regtest;
const keys = [1, 2, 3].map((n) => ECPair.fromPrivateKey(Buffer.alloc(32, n), { network }));
const pubkeys = keys.map((key) => Buffer.from(key.publicKey));
const xonly = pubkeys[0].subarray(1, 33);
const multisig = bitcoin.payments.p2ms({ m: 2, pubkeys, network });
const leaf = { output: bitcoin.script.fromASM(`${pubkeys[1].subarray(1, 33).toString('hex')} OP_CHECKSIG`) };
const tree = bitcoin.payments.p2tr({
  internalPubkey: xonly, scriptTree: leaf, redeem: { output: leaf.output, redeemVersion: 0xc0 }, network,
});

const kinds = {
  p2pkh: bitcoin.payments.p2pkh({ pubkey: pubkeys[0], network }),
  p2wpkh: bitcoin.payments.p2wpkh({ pubkey: pubkeys[0], network }),
  'p2sh-p2wpkh': bitcoin.payments.p2sh({ redeem: bitcoin.payments.p2wpkh({ pubkey: pubkeys[0], network }), network }),
  'p2sh-multisig': bitcoin.payments.p2sh({ redeem: multisig, network }),
  'p2wsh-multisig': bitcoin.payments.p2wsh({ redeem: multisig, network }),
  'p2tr-key': bitcoin.payments.p2tr({ internalPubkey: xonly, network }),
  'p2tr-script': tree,
};

function spend(kind, coin) {
  const payment = kinds[kind];
  const psbt = new bitcoin.Psbt({ network });
  const input = { hash: coin.txid, index: coin.vout };
  if (kind === 'p2pkh' || kind === 'p2sh-multisig') {
    input.nonWitnessUtxo = Buffer.from(coin.raw, 'hex');
  } else {
    input.witnessUtxo = { script: payment.output, value: BigInt(coin.grains) };
  }
  if (kind.startsWith('p2sh')) input.redeemScript = payment.redeem.output;
  if (kind === 'p2wsh-multisig') input.witnessScript = multisig.output;
  if (kind.startsWith('p2tr')) input.tapInternalKey = xonly;
  if (kind === 'p2tr-script') {
    const control = payment.witness[payment.witness.length - 1];
    input.tapLeafScript = [{ leafVersion: 0xc0, script: leaf.output, controlBlock: control }];
  }
  psbt.addInput(input);
  psbt.addOutput({ address: coin.to, value: BigInt(coin.grains) - 1000n });
  if (kind === 'p2tr-key') {
    const tweak = bitcoin.crypto.taggedHash('TapTweak', xonly);
    psbt.signInput(0, keys[0].tweak(tweak));
  } else if (kind === 'p2tr-script') {
    psbt.signInput(0, keys[1]);
  } else if (kind.endsWith('multisig')) {
    psbt.signInput(0, keys[0]).signInput(0, keys[2]);
  } else {
    psbt.signInput(0, keys[0]);
  }
  psbt.finalizeAllInputs();
  return psbt.extractTransaction().toHex();
}

const [, , command, argument] = process.argv;
const answer = {};
for (const kind of Object.keys(kinds)) {
  answer[kind] = command === 'scripts' ? kinds[kind].address : spend(kind, JSON.parse(argument)[kind]);
}
process.stdout.write(JSON.stringify(answer));
