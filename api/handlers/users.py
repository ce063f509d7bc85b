"""Greenfield's users, members of stores, and roles."""

from typing import Any

from api.errors import ApiError, ErrorShape, Invalid, unauthenticated
from api.guard import is_direct_local
from api.models.stores import MemberAnswer, MemberRequest, RoleAnswer
from api.models.users import ApproveRequest, LockRequest, UpdateUserRequest, UserAnswer, UserRequest
from api.permissions import grants
from api.routing import Access, Call, RouteTable
from payments.accounts import ROLES, Member, User
from payments.errors import not_found

__all__ = ["table"]

table = RouteTable("/api/v1", "Users", ErrorShape.GREENFIELD)

VIEW_PROFILE = "btcpay.user.canviewprofile"
MODIFY_PROFILE = "btcpay.user.canmodifyprofile"
DELETE_SELF = "btcpay.user.candeleteuser"
VIEW_USERS = "btcpay.server.canviewusers"
CREATE_USER = "btcpay.server.cancreateuser"
MODIFY_SERVER = "btcpay.server.canmodifyserversettings"
VIEW_STORE = "btcpay.store.canviewstoresettings"
MODIFY_STORE = "btcpay.store.canmodifystoresettings"
_OPERATOR = User("operator", "operator@localhost", 0, is_admin=True, name="Operator")
_MEMBER = "/stores/{storeId}/users/{idOrEmail}"


@table.add("GET", "/users/me", access=VIEW_PROFILE, answer=UserAnswer, summary="Who one is")
async def get_me(call: Call[None]) -> UserAnswer:
    return user_answer(_me(call))


@table.add(
    "PUT",
    "/users/me",
    access=MODIFY_PROFILE,
    body=UpdateUserRequest,
    answer=UserAnswer,
    summary="Change one's profile",
)
async def update_me(call: Call[UpdateUserRequest]) -> UserAnswer:
    user, body, accounts = _me(call), call.body, call.context.service.accounts
    if user is _OPERATOR:
        raise ApiError(400, "invalid-state", "The operator's key belongs to no user.")
    if body.new_password:
        checked, _ = await accounts.check_password(user.email, body.current_password or "")
        if checked is None:
            raise Invalid("CurrentPassword", "The current password is not correct.")
    changed = await accounts.update_user(
        user.id,
        email=body.email,
        name=_limited("Name", body.name),
        image_url=_limited("ImageUrl", body.image_url),
        password=body.new_password or None,
    )
    return user_answer(changed)


@table.add("DELETE", "/users/me", access=DELETE_SELF, summary="Delete oneself", errors=(409,))
async def delete_me(call: Call[None]) -> None:
    user = _me(call)
    if user is _OPERATOR:
        raise ApiError(400, "invalid-state", "The operator's key belongs to no user.")
    await _delete(call, user)


@table.add("GET", "/users", access=VIEW_USERS, answer=list[UserAnswer], summary="All users")
async def list_users(call: Call[None]) -> list[UserAnswer]:
    return [user_answer(user) for user in call.context.service.accounts.users()]


@table.add(
    "POST",
    "/users",
    access=Access.ANONYMOUS,
    body=UserRequest,
    answer=UserAnswer,
    status=201,
    summary="Create a user; without a key only the first administrator, and only from this machine",
    errors=(401, 403),
)
async def create_user(call: Call[UserRequest]) -> UserAnswer:
    body, accounts = call.body, call.context.service.accounts
    first = False
    if call.who is None:
        # A page in a browser can reach loopback too: only a program here makes the first administrator.
        if accounts.has_admin or not is_direct_local(call.request):
            raise unauthenticated("Authentication is required for accessing this endpoint")
        first = True
    elif not grants(call.who.permissions, CREATE_USER, None) or not call.who.is_admin:
        raise ApiError(
            403,
            "missing-permission",
            f'Insufficient API Permissions. Please use an API key with permission "{CREATE_USER}".',
            extra={"missingPermission": CREATE_USER},
        )
    if not body.email:
        raise Invalid("Email", "Email is missing")
    if first and not body.password:
        raise Invalid("Password", "Password is missing")
    user = await accounts.create_user(
        body.email.strip(),
        body.password or None,
        is_admin=first or bool(body.is_administrator),
        name=_limited("Name", body.name),
        only_if_first=first,
    )
    return user_answer(user)


@table.add("GET", "/users/{idOrEmail}", access=VIEW_USERS, answer=UserAnswer, summary="A user", errors=(404,))
async def get_user(call: Call[None]) -> UserAnswer:
    return user_answer(_user(call))


@table.add("DELETE", "/users/{idOrEmail}", access=MODIFY_SERVER, summary="Delete a user", errors=(404, 409))
async def delete_user(call: Call[None]) -> None:
    await _delete(call, _user(call))


@table.add(
    "POST",
    "/users/{idOrEmail}/lock",
    access=MODIFY_SERVER,
    body=LockRequest,
    summary="Disable or enable a user",
    errors=(404,),
)
async def lock_user(call: Call[LockRequest]) -> None:
    await call.context.service.accounts.update_user(_user(call).id, disabled=call.body.locked)


@table.add(
    "POST",
    "/users/{idOrEmail}/approve",
    access=MODIFY_SERVER,
    body=ApproveRequest,
    summary="Approve a user",
    errors=(404,),
)
async def approve_user(call: Call[ApproveRequest]) -> None:
    await call.context.service.accounts.update_user(_user(call).id, approved=call.body.approved)


@table.add(
    "GET", "/stores/{storeId}/users", access=VIEW_STORE, answer=list[MemberAnswer], summary="The store's members"
)
async def list_members(call: Call[None]) -> list[MemberAnswer]:
    return [_member(member) for member in call.context.service.accounts.members(call.store)]


@table.add(
    "POST",
    "/stores/{storeId}/users",
    access=MODIFY_STORE,
    body=MemberRequest,
    summary="Add a member",
    errors=(404, 409),
)
async def add_member(call: Call[MemberRequest]) -> None:
    await _set_role(call, call.body.id or call.body.user_id or "", new=True)


@table.add(
    "PUT",
    _MEMBER,
    "/stores/{storeId}/users",
    access=MODIFY_STORE,
    body=MemberRequest,
    summary="Change a member's role",
    errors=(404, 409),
)
async def update_member(call: Call[MemberRequest]) -> None:
    await _set_role(call, call.path.get("idOrEmail") or call.body.id or call.body.user_id or "", new=False)


@table.add("DELETE", _MEMBER, access=MODIFY_STORE, summary="Remove a member", errors=(404, 409))
async def remove_member(call: Call[None]) -> None:
    await call.context.service.accounts.remove_member(call.store, _user(call).id)


@table.add(
    "GET", "/stores/{storeId}/roles", access=VIEW_STORE, answer=list[RoleAnswer], summary="Roles in the store"
)
@table.add("GET", "/server/roles", access=MODIFY_SERVER, answer=list[RoleAnswer], summary="Roles", hidden=True)
async def list_roles(call: Call[None]) -> list[RoleAnswer]:
    return [RoleAnswer(name, name, list(permissions), True) for name, permissions in ROLES.items()]


def user_answer(user: User) -> UserAnswer:
    return UserAnswer(
        id=user.id,
        email=user.email,
        name=user.name,
        image_url=user.image_url,
        invitation_url=None,
        email_confirmed=True,
        requires_email_confirmation=False,
        approved=user.approved,
        requires_approval=False,
        created=user.created_at,
        disabled=user.disabled,
        roles=["ServerAdmin"] if user.is_admin else [],
    )


def _member(member: Member) -> MemberAnswer:
    user = member.user
    return MemberAnswer(user.id, user.id, user.email, user.name, user.image_url, member.role, member.role)


def _me(call: Call[Any]) -> User:
    user_id = call.principal.user_id
    if user_id is None:
        return _OPERATOR
    user = call.context.service.accounts.user(user_id)
    if user is None:
        raise not_found("user")
    return user


def _user(call: Call[Any]) -> User:
    user = call.context.service.accounts.user(call.path["idOrEmail"])
    if user is None:
        raise not_found("user")
    return user


async def _delete(call: Call[Any], user: User) -> None:
    service = call.context.service
    await service.accounts.delete_user(user.id)
    for key in service.api_keys(user.id):
        await service.revoke_api_key(key.id)


async def _set_role(call: Call[MemberRequest], id_or_email: str, *, new: bool) -> None:
    accounts = call.context.service.accounts
    user = accounts.user(id_or_email)
    if user is None:
        raise not_found("user")
    role = call.body.store_role or call.body.role
    if not role:
        raise Invalid("StoreRole", "Role needs to be provided")
    if not new and accounts.role(call.store, user.id) is None:
        raise not_found("user")
    await accounts.set_role(call.store, user.id, role, new=new)


def _limited(path: str, text: str | None) -> str | None:
    if text is not None and (len(text) > 500 or any(ord(char) < 32 for char in text)):
        raise Invalid(path, "The text is too long or has control characters.")
    return text
