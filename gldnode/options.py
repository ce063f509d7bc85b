"""Every configuration key that exists: the one list behind `-help` and the check for unknown keys."""

from dataclasses import dataclass
from typing import Final

__all__ = ["OPTIONS", "Option", "help_text", "known_keys"]


@dataclass(frozen=True, slots=True)
class Option:
    """A configuration key; `value` is what the help shows behind `=`, empty for a switch."""

    name: str
    value: str
    help: str


def _group(text: str) -> tuple[Option, ...]:
    """Options of lines `name[=value]  help`."""
    options = []
    for line in text.strip().splitlines():
        head, _, about = line.strip().partition("  ")
        name, _, value = head.partition("=")
        options.append(Option(name, value, about.strip()))
    return tuple(options)


OPTIONS: Final[dict[str, tuple[Option, ...]]] = {
    "Options": _group("""
        help  Print this help and exit (also -h, -?)
        version  Print the version and exit
        alertnotify=cmd  Execute a command when an alert is raised (%s is replaced by the message)
        assumevalid=hex  Skip script checks below this block; 0 verifies all
        blocknotify=cmd  Execute a command when the best block changes (%s is replaced by the block hash)
        blocksdir=dir  Folder for the blocks (default: the data folder)
        blocksonly  Do not take transactions from peers (default: 0)
        btc-compat  Announce and accept what Bitcoin's tools expect (default: 1 on btc-regtest, else 0)
        checkpoint=height:hash  Refuse chains with another block at this height; may be given several times
        checkpoints  Keep to the network's own checkpoints (default: 1)
        checkblocks=n  How many blocks to check at start (default: 6, 0 = all)
        checklevel=n  How thoroughly -checkblocks checks, 0-4 (default: 3)
        conf=file  Configuration file (default: gldnode.conf in the data folder)
        daemon  Run in the background and accept commands (default: 0)
        daemonwait  Wait for initialization before -daemon's parent exits (default: 0)
        datadir=dir  Data folder (default: ~/.gldnode)
        dbcache=n  Memory for coins in MiB (default: 300, which keeps the whole process below 500 MB)
        fastprune  Small block files, to try pruning with few blocks (default: 0)
        includeconf=file  Include another configuration file (in the file only)
        loadblock=file  Import blocks from a blk file at start; may be given several times
        maxmempool=n  Keep the transaction memory pool below n megabytes (default: 300)
        maxorphantx=n  Keep at most n unconnectable transactions (default: 100)
        maxtipage=n  Seconds after which the newest block is too old to rely on (default: a day; none on regtest)
        mempoolexpiry=n  Do not keep transactions longer than n hours (default: 336)
        mindiskfree=n  Take no blocks while fewer than n MiB are free on the disk (default: 50, 0 = never refuse)
        minimumchainwork=hex  Minimum work of a chain to follow
        par=n  Threads for signature checks (0 = automatic, default: 0)
        paymentsdir=dir  Folder of the payment records (default: ~/.gldnode/payments/<network>)
        persistmempool  Save the mempool at stop and load it at start (default: 1)
        pid=file  Process id file, relative to the network's folder (default: gldnode.pid)
        prune=n  Delete old blocks to stay below n MiB (0 = keep all, 1 = by RPC; default: 0)
        reindex  Rebuild the block index and chain state from the block files
        reindex-chainstate  Rebuild the chain state from the blocks
        safemode  Pause settlement after deep reorganisations and while branches compete (default: 1)
        settings=file  Accepted for compatibility
        shutdownnotify=cmd  Execute a command before shutting down
        startupnotify=cmd  Execute a command when start-up is complete
        stopatheight=n  Stop after reaching this height
        """),
    "Indexes": _group("""
        addressindex  Index what every address received and spent (default: 1 on regtest)
        blockfilterindex=type  Index compact block filters, BIP 158: basic or 1
        coinstatsindex  Index the statistics of the coin set (default: 0)
        txindex  Index all transactions (default: 0)
        txospenderindex  Index which transaction spends an output (default: 0)
        """),
    "Connections": _group("""
        addnode=ip  Connect to a node and keep the connection open
        asmap=file  Group peers by autonomous system, after this file in Core's format
        bantime=n  Seconds of a manual ban (default: 86400)
        bind=addr[:port]  Listen on this address
        capturemessages  Write all messages of all peers to message_capture in the network's folder (default: 0)
        connect=ip  Connect only to the given node; 0 disables automatic connections
        discover  Discover own addresses (default: 1 when listening)
        dns  Allow DNS lookups for -addnode, -seednode and -connect (default: 1)
        dnsseed  Query DNS seeds when short of addresses (default: 1 unless -connect)
        dnsseedhost=name  Query this DNS seed too; may be given several times
        externalip=ip  Own public address
        fixedseeds  Accepted for compatibility: no addresses are built in
        forcednsseed  Always query DNS seeds (default: 0)
        listen  Accept connections (default: 1 unless -connect)
        listenonion  Make an onion service through -torcontrol (default: 0)
        maxconnections=n  Most connections to peers (default: 125)
        maxreceivebuffer=n  Accepted for compatibility: no more is read than is handled at once
        maxsendbuffer=n  A peer that has not read n*1000 bytes is not served until it has (default: 1000)
        maxuploadtarget=n  Try to keep outbound traffic under the target per 24 h
        networkactive  Enable all P2P activity (default: 1)
        onion=ip:port  SOCKS5 proxy for onion peers
        onlynet=net  Make automatic connections only to this network
        peerblockfilters  Serve compact block filters to peers (default: 0)
        peerbloomfilters  Accepted for compatibility, without effect: BIP 37 bloom filters are not served
        peertimeout=n  Seconds until an unresponsive peer is dropped (default: 60)
        port=n  Listen for connections on port n
        proxy=ip:port  Connect through a SOCKS5 proxy
        seednode=ip  Connect to this node to ask for addresses, and leave it; may be given several times
        torcontrol=ip:port  Control port of the Tor daemon (default: 127.0.0.1:9051)
        torpassword=pass  Password of the control port
        timeout=n  Connection timeout in milliseconds (default: 5000)
        uacomment=text  Append a comment to the user agent
        v2transport  Support BIP 324 (default: 1)
        whitebind=perm@addr  Bind and grant permissions to who connects there
        whitelist=perm@net  Grant permissions to peers of this network
        """),
    "Relay and mining": _group("""
        acceptnonstdtxn  Relay and mine non-standard transactions (regtest networks)
        blockmaxweight=n  Most weight of a block made here (default: 4000000)
        blockmintxfee=amt  Lowest feerate in blocks made here
        blockversion=n  Override the version of blocks made here (regtest networks)
        bytespersigop=n  Equivalent bytes per signature operation (default: 20)
        checkmempool=n  Check the mempool's consistency once in n operations (0 = never)
        checkblockindex=n  Accepted for compatibility
        datacarrier  Relay and mine data carrier transactions (default: 1)
        datacarriersize=n  Largest data carrier relayed (default: 100000)
        dustrelayfee=amt  Feerate that defines dust
        incrementalrelayfee=amt  Feerate of a replacement's own relay
        limitancestorcount=n  Most unconfirmed ancestors, itself included (default: 25)
        limitancestorsize=n  Most kilobytes of them (default: 101)
        limitdescendantcount=n  Most unconfirmed descendants (default: 25)
        limitdescendantsize=n  Most kilobytes of them (default: 101)
        mempoolfullrbf  Accept replacement of transactions that do not signal it (default: 1)
        minrelaytxfee=amt  Fees below this are not relayed (per kvB)
        permitbaremultisig  Relay bare multisig outputs (default: 1)
        whitelistforcerelay  Grant forcerelay to whitelisted peers (default: 0)
        whitelistrelay  Grant relay to whitelisted peers (default: 1)
        """),
    "RPC and HTTP": _group("""
        allowhost=name  Accept this Host header besides IP addresses, localhost and -externalurl's
        btcmethodids  Take BTC payment method ids for the coin's own, for shops that hard-code them (default: 0)
        externalurl=url  Public address of the shop's pages
        maxconnectionsperaddress=n  Connection cap per client address
        publicbind=host:port  Second site with the payment routes only
        createratelimit=n[/s]  Creating calls per minute (or s seconds) and key, and per address (default: 100000)
        ratelimit=n[/s]  Requests without a key per minute (or s seconds) and address (default: 600)
        rest  Serve the REST interface (default: 0)
        rpcallowip=ip  Allow RPC from this address or network (default: loopback)
        rpcauth=user:salt$hash  Salted hash of an RPC password
        rpcbind=addr[:port]  Listen for HTTP on this address (default: 127.0.0.1 and ::1)
        rpccookiefile=file  Authentication cookie (default: .cookie in the network's folder)
        rpccookieperms=who  Readable by owner, group or all (default: owner)
        rpcdoccheck  Accepted for compatibility
        rpcpassword=pw  Password for RPC
        rpcport=n  HTTP port
        rpcservertimeout=n  Seconds of an HTTP connection's silence (default: 30)
        rpcthreads=n  Threads for long reads (default: 4)
        rpcuser=user  User name for RPC
        rpcwhitelist=user:method,..  Methods that this user may call
        rpcwhitelistdefault  Users without -rpcwhitelist may call nothing (1) or everything (0)
        rpcworkqueue=n  RPC requests at a time (default: 64)
        server  Accept RPC commands (default: 1)
        trustedproxy=net  Believe forwarding headers of this proxy
        """),
    "Events": _group("""
        zmqpubhashblock=address  Publish block hashes
        zmqpubhashblockhwm=n  High water mark of it
        zmqpubhashtx=address  Publish transaction hashes
        zmqpubhashtxhwm=n  High water mark of it
        zmqpubrawblock=address  Publish blocks
        zmqpubrawblockhwm=n  High water mark of it
        zmqpubrawtx=address  Publish transactions
        zmqpubrawtxhwm=n  High water mark of it
        zmqpubsequence=address  Publish block and mempool changes in sequence
        zmqpubsequencehwm=n  High water mark of it
        """),
    "Wallet": _group("""
        addresstype=type  legacy, p2sh-segwit, bech32 or bech32m (default: bech32)
        avoidpartialspends  Group outputs by address (default: 0)
        changetype=type  Address type of change
        consolidatefeerate=amt  Feerate below which more inputs are used
        disablewallet  Run without wallets (default: 0)
        discardfee=amt  Feerate that tells what change is discarded
        fallbackfee=amt  Feerate when none can be estimated
        keypool=n  Addresses to watch ahead (default: 1000)
        maxapsfee=n  Accepted for compatibility
        maxtxfee=amt  Highest total fee of one transaction
        mintxfee=amt  Lowest feerate for created transactions
        paytxfee=amt  Feerate for created transactions
        signer=cmd  External signer
        spendzeroconfchange  Spend unconfirmed change (default: 1)
        txconfirmtarget=n  Target of fee estimates in blocks (default: 6)
        unsafesqlitesync  Accepted for compatibility
        wallet=name  Load a wallet at start
        walletbroadcast  Broadcast the wallet's transactions (default: 1)
        walletcrosschain  Accepted for compatibility
        walletdir=dir  Folder of the wallets (default: wallets in the network's folder)
        walletnotify=cmd  Execute a command for a wallet transaction (%s txid, %w wallet, %b block, %h height)
        walletrbf  Signal replaceability (default: 1)
        """),
    "Payments": _group("""
        payments  Run the payment server (default: 1)
        abandonedmaxage=n  Days after which an invoice nobody paid leaves the lists, 0 for never (default: 180)
        allowoutgoing=cidr  Addresses that webhooks and rate sources may reach although they are not public
        rate=pair=source  Rate of the coin: a number, an https address with #path, or rule:expression
        eventsmaxage=n  Days after which told events and their bodies are removed, 0 for never (default: 90)
        maxopeninvoices=n  Unpaid invoices that a store may have at a time, 0 for any (default: 1000000)
        maxpaymentrequests=n  Payment requests that a store may have, 0 for any (default: 10000)
        maxwebhooks=n  Webhooks that a store may have, 0 for any (default: 50)
        ratemaxage=n  Seconds after which a fetched rate is not used any more (default: 900)
        """),
    "Chain": _group("""
        btc-regtest  Use Bitcoin's regtest network
        chain=name  main, test, regtest or btc-regtest (default: main)
        regtest  Use the regtest network
        testactivationheight=name@height  Activation height of segwit, bip34, dersig, cltv or csv (btc-regtest)
        testnet  Use the test network
        vbparams=deployment:start:end  Accepted for compatibility
        """),
    "Logging": _group("""
        debug=category  Log more about this (net, mempool, rpc, ..., 1 for all)
        debugexclude=category  Leave this out of -debug=1
        debuglogfile=file  Log file (default: debug.log; 0 for none)
        logips  Log addresses of peers (default: 0)
        logjson  Write the log as JSON lines (default: 0)
        loglevel=level  Accepted for compatibility
        loglevelalways  Accepted for compatibility
        logratelimit  Accepted for compatibility
        logsourcelocations  Log source locations (default: 0)
        logthreadnames  Log thread names (default: 0)
        logtimemicros  Log microseconds (default: 0)
        logtimestamps  Log time stamps (default: 1)
        mocktime=n  Start with this time (regtest networks)
        printtoconsole  Print the log to the console
        shrinkdebugfile  Shrink the log file at start when it is large (default: 1 without -debug)
        """),
}


def known_keys() -> frozenset[str]:
    """All keys, the short forms of -help included."""
    return frozenset(option.name for group in OPTIONS.values() for option in group) | {"h", "?"}


def help_text() -> str:
    """What `gldnode -help` prints."""
    lines = ["Usage:  gldnode [options]", ""]
    for title, group in OPTIONS.items():
        lines += [f"{title}:", ""]
        for option in group:
            head = f"-{option.name}={option.value}" if option.value else f"-{option.name}"
            lines += [f"  {head}", f"       {option.help}", ""]
    return "\n".join(lines)
