"""What gld-cli takes before the command, besides the node's own keys."""

from typing import Final

__all__ = ["CLI_KEYS", "HELP"]

CLI_KEYS: Final = frozenset(
    {
        "anchor",
        "color",
        "completion",
        "generate",
        "getinfo",
        "headers",
        "named",
        "netinfo",
        "revenue",
        "rpcclienttimeout",
        "rpcconnect",
        "rpcwait",
        "rpcwaittimeout",
        "rpcwallet",
        "stats",
        "stdin",
        "stdinrpcpass",
        "stdinwalletpassphrase",
    }
)
HELP: Final = """\
Usage:  gld-cli [options] <command> [params]  Send command to the node
or:     gld-cli [options] -named <command> [name=value]...  Send command with named arguments
or:     gld-cli [options] help                List commands
or:     gld-cli [options] help <command>      Get help for a command

Options:

  -anchor=<height:hash>  A block you trust, with which -headers begins (default: genesis)
  -chain=<name>          main, test, regtest or btc-regtest (default: main); also -regtest, -testnet, -btc-regtest
  -color=<when>          Colour of -getinfo, -netinfo, -revenue, -stats: always, auto, never (default: auto)
  -completion=<shell>    Print a completion script: bash, zsh or fish (default: bash)
  -conf=<file>           Configuration file (default: gldnode.conf in the data folder)
  -datadir=<dir>         Data folder (default: ~/.gldnode)
  -generate              Mine to a new address of the wallet: -generate [nblocks] [maxtries]
  -getinfo               Get general information from the node
  -headers=<file>        Check a receipt without a node: verifyreceipt FILE against these headers
  -netinfo               Show the node's connections
  -named                 Pass named instead of positional arguments (default: 0)
  -revenue               Show what the shops took: -revenue [day|week|month] [days] [storeid]
  -rpcclienttimeout=<n>  Timeout in seconds of a request, 0 for none (default: 900)
  -rpcconnect=<ip>       Send commands to the node at this address (default: 127.0.0.1)
  -rpccookiefile=<file>  Location of the authentication cookie
  -rpcpassword=<pw>      Password for RPC
  -rpcport=<port>        The node's HTTP port
  -rpcuser=<user>        User name for RPC
  -rpcwait               Wait for the node to start
  -rpcwaittimeout=<n>    Seconds that -rpcwait waits, 0 for ever (default: 0)
  -rpcwallet=<name>      Send RPC to this wallet
  -stats                 Show payment statistics of every store, or one: -stats [days] [storeid]
  -stdin                 Read extra arguments from standard input, one a line, until EOF
  -stdinrpcpass          Read the RPC password from standard input, one line
  -stdinwalletpassphrase Read the wallet passphrase from standard input, one line
"""
