"""Which arguments of which methods are JSON on the command line: what gld-cli needs to know of the declarations.

Written down, for importing every method takes a second and the command line has a tenth; a test compares each line
with its declaration (Core: rpc/client.cpp). A method that is missing here is looked up in the declarations.

One line is a method and its parameters: `name` is text, `name*` JSON, `name~` JSON or else text,
`name{…}` an object whose members may be named beside the parameters.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gldnode.rpc.params import Kind, Param

if TYPE_CHECKING:
    from gldnode.rpc.registry import Method

__all__ = ["TABLE", "declared_params", "describe", "method_names"]

_TABLE: Final = """\
abandontransaction txid
abortrescan
acknowledgereorg
addconnection address connection_type v2transport*
addnode node command v2transport*
addpeeraddress address port* tried*
analyzepsbt psbt
backupwallet destination
bumpfee txid options{conf_target* fee_rate~ replaceable* estimate_mode}
clearbanned
combinepsbt txs*
combinerawtransaction txs*
converttopsbt hexstring permitsigdata* iswitness*
createapikey label storeid permissions*
createmultisig nrequired* keys* address_type
createpsbt inputs* outputs~ locktime* replaceable* version* psbt_version*
createrawtransaction inputs* outputs~ locktime* replaceable* version*
createstore name merchant currency
createwallet wallet_name disable_private_keys* blank* passphrase avoid_reuse* descriptors* \
    load_on_startup* external_signer* mnemonic
decodepsbt psbt
decoderawtransaction hexstring iswitness*
decodescript hexstring
deriveaddresses descriptor range*
descriptorprocesspsbt psbt descriptors* sighashtype bip32derivs* finalize*
disconnectnode address nodeid*
dumpheaders filename
dumptxoutset path type options{rollback~}
echo arg0~ arg1~ arg2~ arg3~ arg4~ arg5~ arg6~ arg7~ arg8~ arg9~
echojson arg0~ arg1~ arg2~ arg3~ arg4~ arg5~ arg6~ arg7~ arg8~ arg9~
encryptwallet passphrase
estimaterawfee conf_target* threshold*
estimatesmartfee conf_target* estimate_mode
finalizepsbt psbt extract*
fundrawtransaction hexstring options{add_inputs* include_unsafe* minconf* maxconf* changeAddress \
    changePosition* change_type lockUnspents* fee_rate~ feeRate~ subtractFeeFromOutputs* replaceable* \
    conf_target* estimate_mode} iswitness*
generate
generateblock output transactions* submit*
generatetoaddress nblocks* address maxtries*
generatetodescriptor num_blocks* descriptor maxtries*
getaddednodeinfo node
getaddressbalance addresses~
getaddressdeltas addresses~
getaddressesbylabel label
getaddressinfo address
getaddressmempool addresses~
getaddresstxids addresses~
getaddressutxos addresses~
getaddrmaninfo
getbalance dummy minconf* include_watchonly* avoid_reuse*
getbalances
getbestblockhash
getblock blockhash verbosity|verbose~
getblockchaininfo
getblockcount
getblockfilter blockhash filtertype
getblockfrompeer blockhash peer_id*
getblockhash height*
getblockheader blockhash verbose*
getblockstats hash_or_height~ stats*
getblocktemplate template_request*
getchainstates
getchaintips
getchaintxstats nblocks* blockhash
getconnectioncount
getdeploymentinfo blockhash
getdescriptoractivity blockhashes* scanobjects* include_mempool*
getdescriptorinfo descriptor
getdifficulty
gethdkeys options{active_only* private*}
getindexinfo index_name
getinvoice invoiceid
getmemoryinfo mode
getmempoolancestors txid verbose*
getmempoolcluster txid
getmempooldescendants txid verbose*
getmempoolentry txid
getmempoolfeeratediagram
getmempoolinfo
getmininginfo
getnettotals
getnetworkhashps nblocks* height*
getnetworkinfo
getnewaddress label address_type
getnodeaddresses count* network
getorphantxs verbosity~
getpaymentsinfo
getpeerinfo
getprioritisedtransactions
getrawaddrman
getrawchangeaddress address_type
getrawmempool verbose* mempool_sequence*
getrawtransaction txid verbosity|verbose~ blockhash
getreceipt invoiceid
getreceivedbyaddress address minconf* include_immature_coinbase*
getreceivedbylabel label minconf* include_immature_coinbase*
getrevenue period days* storeid
getrpcinfo
getstorestats storeid days*
gettransaction txid include_watchonly* verbose*
gettxout txid n* include_mempool*
gettxoutproof txids* blockhash
gettxoutsetinfo hash_type hash_or_height~ use_index*
gettxspendingprevout outputs* options{mempool_only* return_spending_tx*}
getunconfirmedbalance
getwalletinfo
getwalletmnemonic
getzmqnotifications
help command
importdescriptors requests*
importmempool filepath options{use_current_time* apply_fee_delta_priority* apply_unbroadcast_set*}
importprunedfunds rawtransaction txoutproof
invalidateblock blockhash
joinpsbts txs*
keypoolrefill newsize*
listapikeys
listaddressgroupings
listbanned
listdescriptors private*
listinvoices storeid count* archived*
listlabels purpose
listlockunspent
listreceivedbyaddress minconf* include_empty* include_watchonly* address_filter include_immature_coinbase*
listreceivedbylabel minconf* include_empty* include_watchonly* include_immature_coinbase*
listsinceblock blockhash target_confirmations* include_watchonly* include_removed* include_change* label
liststores
listtransactions label|dummy count* skip* include_watchonly*
listunassigned storeid count*
listunspent minconf* maxconf* addresses* include_unsafe* query_options{minimumAmount maximumAmount \
    maximumCount* minimumSumAmount include_immature_coinbase*}
listwalletdir
listwallets
loadtxoutset path
loadwallet filename load_on_startup*
lockunspent unlock* transactions* persistent*
logging include* exclude*
mockscheduler delta_time*
ping
preciousblock blockhash
prioritisetransaction txid dummy~ fee_delta*
pruneblockchain height*
psbtbumpfee txid options{conf_target* fee_rate~ replaceable* estimate_mode}
reconsiderblock blockhash
removeprunedfunds txid
rescanblockchain start_height* stop_height*
restorewallet wallet_name backup_file load_on_startup*
revokeapikey id
savemempool
scanblocks action scanobjects* start_height* stop_height* filtertype options{filter_false_positives*}
scantxoutset action scanobjects*
send outputs~ conf_target* estimate_mode fee_rate~ options{add_inputs* include_unsafe* add_to_wallet* \
    change_address change_position* change_type inputs* locktime* lock_unspents* psbt* \
    subtract_fee_from_outputs* replaceable* minconf* maxconf*}
sendall recipients* conf_target* estimate_mode fee_rate~ options{add_to_wallet* inputs* send_max*}
sendmany dummy amounts* minconf* comment subtractfeefrom* replaceable* conf_target* estimate_mode \
    fee_rate~ verbose*
sendmsgtopeer peer_id* msg_type msg
sendrawtransaction hexstring maxfeerate~ maxburnamount~
sendtoaddress address amount~ comment comment_to subtractfeefromamount* replaceable* conf_target* \
    estimate_mode avoid_reuse* fee_rate~ verbose*
setban subnet command bantime* absolute*
setlabel address label
setmocktime timestamp*
setnetworkactive state*
setstoremerchant storeid merchant
settxfee amount~
signmessage address message
signmessagewithprivkey privkey message
signrawtransactionwithkey hexstring privkeys* prevtxs* sighashtype
signrawtransactionwithwallet hexstring prevtxs* sighashtype
simulaterawtransaction rawtxs* options{include_watchonly*}
stop wait*
submitblock hexdata dummy
submitheader hexdata
submitpackage package* maxfeerate~ maxburnamount~
syncwithvalidationinterfacequeue
testmempoolaccept rawtxs* maxfeerate~
unloadwallet wallet_name load_on_startup*
uptime
utxoupdatepsbt psbt descriptors*
validateaddress address
verifychain checklevel* nblocks*
verifymessage address signature message
verifyreceipt receipt
verifytxoutproof proof
waitforblock blockhash timeout*
waitforblockheight height* timeout*
waitfornewblock timeout* current_tip
walletcreatefundedpsbt inputs* outputs~ locktime* options{add_inputs* include_unsafe* minconf* maxconf* \
    changeAddress changePosition* change_type includeWatching* lockUnspents* fee_rate~ feeRate~ \
    subtractFeeFromOutputs* conf_target* estimate_mode replaceable*} bip32derivs* version* psbt_version*
walletlock
walletpassphrase passphrase timeout*
walletpassphrasechange oldpassphrase newpassphrase
walletprocesspsbt psbt sign* sighashtype bip32derivs* finalize*
"""
TABLE: Final = {line.split()[0]: " ".join(line.split()) for line in _TABLE.splitlines()}
_PARAM: Final = re.compile(r"([^ *~{}]+)(?:([*~])|\{([^}]*)\})?")


def method_names() -> list[str]:
    return sorted(TABLE)


def declared_params(method: str) -> Sequence[Param] | None:
    """The parameters of `method` as far as the command line needs them; None for an unknown method."""
    line = TABLE.get(method)
    if line is None:
        from gldnode.rpc.methods import full_registry  # slow, and rarely needed

        found = full_registry().get(method)
        return None if found is None else found.params
    return _read(line.partition(" ")[2])


def _read(text: str) -> list[Param]:
    params = []
    for match in _PARAM.finditer(text):
        name, mark, members = match.groups()
        if members is not None:
            params.append(Param(name, Kind.OBJ, "", inner=tuple(_read(members)), is_options=True))
        else:
            kind = Kind.STR if mark is None else Kind.OBJ if mark == "*" else Kind.ANY
            params.append(Param(name, kind, ""))
    return params


def describe(method: "Method") -> str:
    """The table's line for a declaration."""
    return " ".join([method.name, *map(_describe, method.params)])


def _describe(param: Param) -> str:
    if param.is_options:
        return f"{param.name}{{{' '.join(map(_describe, param.inner))}}}"
    if param.kind is Kind.STR:
        return param.name
    return param.name + ("~" if param.kind in (Kind.ANY, Kind.AMOUNT) else "*")
