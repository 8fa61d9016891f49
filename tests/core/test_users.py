"""Users: logging in, what is kept about them, and what is there after a restart."""

import hashlib
from base64 import b64encode

import pytest

from portask.catalog import IDENTITY
from portask.errors import CorruptError, NotFoundError, PreconditionError
from portask.message import encode_cbor
from portask.storage.base import Round
from portask.storage.memory import MemoryStorage
from portask.users import PERMISSIONS, USERS, Permission, TopicPermission

# What RabbitMQ 3.10 stored for "s3cr3t".
RABBITMQ_HASH = "HVWOt4nRwwyQ/Ju6wMI75Z1Vx3LFCR6ila3d+Bgqkf8UHO6m"


@pytest.fixture
def users(broker):
    return broker.users


def sha(name, password, salt=b"salt"):
    return b64encode(salt + hashlib.new(name, salt + password).digest()).decode()


# -- log in ----------------------------------------------------------------------------------------


def test_guest_is_there_at_the_first_start(users):
    assert users.authenticate("guest", "guest")


def test_guest_may_do_everything_in_the_default_virtual_host(users):
    assert users.permissions() == [Permission("guest", "/", ".*", ".*", ".*")]
    assert users.get("guest").tags == ("administrator",)


def test_guest_stays_deleted_after_a_restart(make_broker):
    storage = MemoryStorage()
    make_broker(storage=storage).users.delete("guest")

    users = make_broker(storage=storage).users
    assert not users.authenticate("guest", "guest")
    assert users.users() == users.permissions() == []


@pytest.mark.parametrize("password", ["", "Guest", "guest ", b"\xff"])
def test_a_wrong_password_is_refused(users, password):
    assert not users.authenticate("guest", password)


def test_an_unknown_user_is_refused_whatever_the_password(users):
    assert not users.authenticate("nobody", "")
    assert not users.authenticate("nobody", "guest")


@pytest.mark.parametrize("password", ["s3cr3t", "ünïcode", "x" * 1000])
def test_a_user_logs_in_with_its_password(users, password):
    users.put("ann", password=password)

    assert users.authenticate("ann", password)
    assert users.authenticate("ann", password.encode())
    assert not users.authenticate("ann", password + "x")


def test_a_user_without_a_password_never_logs_in(users):
    users.put("ann")

    assert not users.authenticate("ann", "")
    assert not users.authenticate("ann", "ann")


def test_an_empty_password_opens_nothing(users):
    users.put("ann", password="")

    assert not users.authenticate("ann", "")


def test_a_hash_that_rabbitmq_made_is_understood(users):
    users.put("ann", password_hash=RABBITMQ_HASH)

    assert users.authenticate("ann", "s3cr3t")


@pytest.mark.parametrize("name", ["sha256", "sha512", "md5"])
def test_a_hash_of_every_algorithm_of_rabbitmq_is_understood(users, name):
    users.put("ann", password_hash=sha(name, b"s3cr3t"), algorithm=f"rabbit_password_hashing_{name}")

    assert users.authenticate("ann", "s3cr3t")
    assert not users.authenticate("ann", "s3cr3t.")


def test_the_same_password_is_hashed_differently_each_time(users):
    first = users.put("ann", password="x").password_hash

    assert users.put("ann", password="x").password_hash != first


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"password_hash": "no base64"}, "not base64"),
        ({"password_hash": "é"}, "not base64"),
        ({"password_hash": "aGFzaA=="}, "has 4 bytes"),
        ({"password_hash": "", "algorithm": "rot13"}, "hashing_algorithm"),
        ({"limits": {"max-speed": 1}}, "max-speed"),
        ({"limits": {"max-channels": "1"}}, "max-channels"),
        ({"limits": {"max-channels": 1 << 70}}, "max-channels"),
        ({"tags": ["\ud800"]}, "tag"),
        ({"password": "\ud800"}, "password"),
    ],
)
def test_a_user_that_cannot_be_is_refused_and_nothing_changes(users, fields, text):
    with pytest.raises(PreconditionError, match=text):
        users.put("guest", **fields)
    assert users.authenticate("guest", "guest")


@pytest.mark.parametrize("name", ["", "x" * 256, "\ud800"])
def test_a_name_that_cannot_be_is_refused(users, name):
    with pytest.raises(PreconditionError, match="name"):
        users.put(name, password="x")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_guest_may_come_from_this_machine(users, host):
    assert users.may_come_from("guest", host)


@pytest.mark.parametrize("host", ["10.0.0.1", "::2", "fe80::1%eth0", "::ffff:10.0.0.1"])
def test_guest_may_not_come_from_another_machine(users, host):
    assert not users.may_come_from("guest", host)
    assert users.may_come_from("ann", host)


def test_the_users_that_are_kept_to_this_machine_are_configured(make_broker):
    users = make_broker("--loopback-users", "ann, bob").users

    assert users.may_come_from("guest", "10.0.0.1")
    assert not users.may_come_from("ann", "10.0.0.1")
    assert not users.may_come_from("bob", "10.0.0.1")


def test_nobody_logs_in_without_a_name(users):
    assert users.anonymous is None


def test_the_user_of_those_without_a_name_is_configured(make_broker):
    assert make_broker("--anonymous-login-user", "guest").users.anonymous == "guest"


def test_a_configured_user_that_is_not_there_lets_nobody_in_without_a_name(make_broker):
    assert make_broker("--anonymous-login-user", "ann").users.anonymous is None


# -- what is kept ----------------------------------------------------------------------------------


def test_everything_comes_back_after_a_restart(make_broker):
    storage = MemoryStorage()
    users = make_broker(storage=storage).users
    ann = users.put("ann", password="x", tags=["monitoring", "own"], limits={"max-connections": 3, "max-channels": -1})
    users.permit(Permission("ann", "/", "^ann", "", ".*"))
    users.permit_topic(TopicPermission("ann", "/", "amq.topic", "^a", "b$"))

    again = make_broker(storage=storage).users
    assert again.get("ann") == ann
    assert again.authenticate("ann", "x")
    assert again.permissions() == [
        Permission("ann", "/", "^ann", "", ".*"),
        Permission("guest", "/", ".*", ".*", ".*"),
    ]
    assert again.topic_permissions() == [TopicPermission("ann", "/", "amq.topic", "^a", "b$")]


def test_a_user_that_is_put_again_keeps_its_limits(users):
    users.put("ann", limits={"max-connections": 3})

    assert users.put("ann", password="x").limits == {"max-connections": 3}
    assert users.put("ann", limits={}).limits == {}


def test_a_deleted_user_takes_its_permissions_along(make_broker):
    storage = MemoryStorage()
    users = make_broker(storage=storage).users
    users.put("ann", password="x")
    users.permit(Permission("ann", "/", "", "", ""))
    users.permit_topic(TopicPermission("ann", "/", "amq.topic", "", ""))
    users.delete("ann")

    for known in (users, make_broker(storage=storage).users):
        assert [user.name for user in known.users()] == ["guest"]
        assert [permission.user for permission in known.permissions()] == ["guest"]
        assert known.topic_permissions() == []


def test_a_virtual_host_takes_its_permissions_along(users):
    users.put("ann")
    users.permit(Permission("ann", "other", "", "", ""))
    users.permit_topic(TopicPermission("ann", "other", "amq.topic", "", ""))
    round_ = Round()
    users.collect_virtual_host_deletion("other", round_)
    users.forget_virtual_host("other")

    assert [permission.virtual_host for permission in users.permissions()] == ["/"]
    assert users.topic_permissions() == []
    assert list(round_.puts.values()) == [None, None]


def test_permissions_of_an_unknown_user_are_refused(users):
    with pytest.raises(NotFoundError, match="no user 'ann'"):
        users.permit(Permission("ann", "/", "", "", ""))
    with pytest.raises(NotFoundError, match="no user 'ann'"):
        users.permit_topic(TopicPermission("ann", "/", "x", "", ""))
    with pytest.raises(NotFoundError, match="no user 'ann'"):
        users.delete("ann")


def test_a_permission_that_is_no_regular_expression_is_refused(users):
    with pytest.raises(PreconditionError, match="regular expression"):
        users.permit(Permission("guest", "/", "(", "", ""))
    with pytest.raises(PreconditionError, match="regular expression"):
        users.permit_topic(TopicPermission("guest", "/", "x", "", "["))


def test_a_permission_that_is_no_text_is_refused(users):
    with pytest.raises(PreconditionError, match="pattern"):
        users.permit(Permission("guest", "/", "\ud800", "", ""))
    with pytest.raises(PreconditionError, match="virtual host"):
        users.permit(Permission("guest", "\ud800", "", "", ""))
    with pytest.raises(PreconditionError, match="exchange"):
        users.permit_topic(TopicPermission("guest", "/", "\ud800", "", ""))


@pytest.mark.parametrize("table", [USERS, PERMISSIONS])
@pytest.mark.parametrize("row", [b"\xff", encode_cbor(["too", "many", 1, 2, 3]), encode_cbor(7)])
def test_a_broken_row_stops_the_start_with_its_table(make_broker, table, row):
    storage = MemoryStorage()
    storage.open()
    round_ = Round()
    round_.puts[IDENTITY, b"default user"] = b"made"
    round_.puts[table, encode_cbor(["ann", "/"])] = row
    storage.write(round_)
    storage.close()

    with pytest.raises(CorruptError, match=f"table {table} "):
        make_broker(storage=storage)
