"""The declaration of RPC methods: one per method gives its help, the check of its arguments and its handler.

    methods = MethodGroup("Blockchain")

    @methods.method(
        "getblockhash",
        "Returns hash of block in best-block-chain at height provided.",
        params=[num("height", "The height index", required=True)],
        returns='"hex"    (string) The block hash',
        examples=["1000"],
    )
    async def getblockhash(ctx: RpcContext, height: int) -> object: ...

A handler gets every declared parameter by name: the checked and converted value, or the declared default
(`None` unless given) when it was left out or null. What it returns is written as JSON; amounts: rpc/json.py.
It raises RpcError; a `Reject` or `DecodeError` that it lets through is the caller's fault too.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gldnode.rpc.context import RpcContext
from gldnode.rpc.errors import RpcCode, RpcError
from gldnode.rpc.params import Param, check_arguments

__all__ = ["Handler", "Method", "MethodGroup", "Registry"]

Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method."""

    name: str
    category: str
    summary: str
    params: Sequence[Param]
    returns: str
    examples: Sequence[str]
    """Argument texts as typed behind the method's name on gld-cli."""
    handler: Handler
    hidden: bool = False
    """Not in the list of `help` (test helpers, old names)."""
    needs_warm: bool = True
    """Answers -28 while the node loads."""

    @property
    def usage(self) -> str:
        """The first line of the help: name and arguments, optional ones in parentheses."""
        shown = [param.usage() for param in self.params if not param.hidden]
        words, open_optional = [self.name], False
        for param, text in zip((p for p in self.params if not p.hidden), shown, strict=True):
            if not param.required and not open_optional:
                words.append("(")
                open_optional = True
            elif param.required and open_optional:
                words.append(")")
                open_optional = False
            words.append(text)
        if open_optional:
            words.append(")")
        return " ".join(words)

    def help_text(self) -> str:
        """The whole help, in the shape of Core's."""
        parts = [self.usage, "", self.summary.strip()]
        shown = [param for param in self.params if not param.hidden]
        if shown:
            parts += ["", "Arguments:"]
            for number, param in enumerate(shown, 1):
                parts.append(param.help_text(f"{number}. "))
        if self.returns:
            parts += ["", "Result:", self.returns.strip("\n")]
        if self.examples or not self.params:
            parts += ["", "Examples:"]
            for example in self.examples or ("",):
                parts += self._example(example)
        return "\n".join(parts) + "\n"

    def _example(self, arguments: str) -> list[str]:
        from gldnode.rpc.convert import curl_params  # the table is built from the declarations

        return [
            f"> gld-cli {self.name} {arguments}".rstrip(),
            "> curl --user myusername --data-binary "
            f'\'{{"jsonrpc": "2.0", "id": "curltest", "method": "{self.name}", '
            f"\"params\": {curl_params(self, arguments)}}}' -H 'content-type: application/json' "
            "http://127.0.0.1:8080/",
        ]


@dataclass(slots=True)
class MethodGroup:
    """The methods of one topic, declared in one module."""

    category: str
    methods: list[Method] = field(default_factory=list)

    def method(
        self,
        name: str,
        summary: str,
        *,
        params: Sequence[Param] = (),
        returns: str = "",
        examples: Sequence[str] = (),
        hidden: bool = False,
        needs_warm: bool = True,
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated coroutine function as the RPC method `name`."""

        def declare(handler: Handler) -> Handler:
            self.methods.append(
                Method(
                    name,
                    self.category,
                    summary,
                    tuple(params),
                    returns,
                    tuple(examples),
                    handler,
                    hidden,
                    needs_warm,
                )
            )
            return handler

        return declare


class Registry:
    """All methods of this node."""

    def __init__(self, groups: Iterable[MethodGroup] = ()) -> None:
        self._methods: dict[str, Method] = {}
        for group in groups:
            self.add(group)

    def add(self, group: MethodGroup) -> None:
        for method in group.methods:
            assert method.name not in self._methods, f"{method.name} is declared twice"
            self._methods[method.name] = method

    def get(self, name: str) -> Method | None:
        return self._methods.get(name)

    def names(self) -> list[str]:
        return sorted(self._methods)

    def methods(self) -> list[Method]:
        return [self._methods[name] for name in self.names()]

    async def call(self, ctx: RpcContext, name: str, params: Sequence[Any] | Mapping[str, Any] | None) -> Any:
        """Check the arguments, then run the method. Raises RpcError."""
        method = self._methods.get(name)
        if method is None:
            raise RpcError(RpcCode.METHOD_NOT_FOUND, "Method not found")
        arguments = check_arguments(method.params, params, method.help_text)
        return await method.handler(ctx, **arguments)
