"""A simulated D-Bus service with the semantics of Victron's velib (`vedbus.py`).

A service has its own bus connection, as the real ones do: dropping it looks like the end of a
process, and its return has another unique name. Messages are handled in one filter, so that every
call can be counted, answered wrongly or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import dbus
import dbus.bus
from dbus import lowlevel

from gx.item import Item, Value, unwire, wire

BUS_ITEM = "com.victronenergy.BusItem"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"

# Told of every write: sender, service, path, value and the code, None where it raised.
OnWritten = Callable[[str, str, str, Value, "int | None"], None]
# Asked before every write: a code to answer instead of doing it, None to let it happen.
AnswerWrite = Callable[[str, Item, Value], "int | None"]


class Service:
    """A service and its items by path.

    `batched` services send ItemsChanged on the root; the others, as older ones do,
    PropertiesChanged on each path. Attributes that are faults: `frozen` ignores measured values,
    `hanging` never answers a call, `pinned` paths keep what they hold.
    """

    def __init__(
        self,
        name: str,
        items: Mapping[str, Item],
        batched: bool = True,
        on_written: OnWritten | None = None,
    ) -> None:
        self.name = name
        self.items = dict(items)
        self.calls: Counter[str] = Counter()
        self.frozen = False
        self.hanging = False
        self.wanted = True  # on the bus, and back on it when the bus was lost
        self.pinned: set[str] = set()
        self.answer_write: AnswerWrite | None = None
        self.on_restart: Callable[[], None] = lambda: None
        self._batched = batched
        self._on_written = on_written
        self._connection: dbus.bus.BusConnection | None = None
        self._left: dbus.bus.BusConnection | None = None

    @property
    def connected(self) -> bool:
        """Whether the service is on the bus."""
        return self._connection is not None

    def connect(self, address: str) -> None:
        """Own the name on the bus at `address`; raises DBusException when it is taken."""
        connection = dbus.bus.BusConnection(address)
        connection.set_exit_on_disconnect(False)
        connection.add_message_filter(self._handle)
        connection.call_on_disconnection(self._lost)
        flags = dbus.bus.NAME_FLAG_DO_NOT_QUEUE
        if connection.request_name(self.name, flags) != dbus.bus.REQUEST_NAME_REPLY_PRIMARY_OWNER:
            connection.close()
            raise dbus.exceptions.DBusException(f"{self.name} is owned by another process")
        self._connection = connection

    def disconnect(self) -> None:
        """Leave the bus as a process does that ends: without a word."""
        if self._connection:
            self._connection.close()
            self._leave()

    def value(self, path: str) -> Value:
        """Return what the path holds, None where there is no such path."""
        item = self.items.get(path)
        return item.value if item else None

    def publish(self, values: Mapping[str, Value]) -> None:
        """Take over measured values, except where the service is frozen or the path pinned."""
        if not self.frozen:
            self.force({path: v for path, v in values.items() if path not in self.pinned})

    def force(self, values: Mapping[str, Value]) -> None:
        """Take over values as they are and signal the changed ones; unknown paths are left out."""
        changed = []
        for path, value in values.items():
            item = self.items.get(path)
            if item and item.value != value:
                item.value = value
                changed.append(path)
        self.announce(changed)

    def write(self, sender: str, path: str, value: Value) -> int:
        """Handle SetValue; raises what the caller is to see as a D-Bus error."""
        item = self.items[path]
        before = item.value
        code: int | None = None
        try:
            if self.answer_write:
                code = self.answer_write(path, item, value)
            if code is None:
                code = item.write(value)
        finally:
            if self._on_written:
                self._on_written(sender, self.name, path, value, code)
        if item.value != before:
            self.announce([path])
        return code

    def announce(self, paths: list[str]) -> None:
        """Signal what these paths hold now."""
        if not self._connection or not paths:
            return
        if self._batched:
            message = lowlevel.SignalMessage("/", BUS_ITEM, "ItemsChanged")
            items = {path: self._attributes(path) for path in paths}
            message.append(dbus.Dictionary(items, signature="sa{sv}"), signature="a{sa{sv}}")
            self._connection.send_message(message)
            return
        for path in paths:
            message = lowlevel.SignalMessage(path, BUS_ITEM, "PropertiesChanged")
            message.append(self._attributes(path), signature="a{sv}")
            self._connection.send_message(message)

    def _lost(self, connection: dbus.bus.BusConnection) -> None:
        if connection is self._connection:
            self._leave()

    def _leave(self) -> None:
        # Kept alive: dbus-python still has its end to dispatch, and fails on a freed connection.
        self._left, self._connection = self._connection, None
        self.on_restart()

    def _attributes(self, path: str) -> dbus.Dictionary:
        return dbus.Dictionary(self.items[path].attributes(), signature="sv")

    def _handle(self, connection: dbus.bus.BusConnection, message: lowlevel.Message) -> int:
        if not isinstance(message, lowlevel.MethodCallMessage):
            return lowlevel.HANDLER_RESULT_NOT_YET_HANDLED
        self.calls[f"{message.get_interface()}.{message.get_member()}"] += 1
        if self.hanging:
            return lowlevel.HANDLER_RESULT_HANDLED
        try:
            signature, result = self._answer(message)
        except _CallError as error:
            reply = lowlevel.ErrorMessage(message, error.name, str(error))
        else:
            reply = lowlevel.MethodReturnMessage(message)
            reply.append(result, signature=signature)
        if not message.get_no_reply():
            connection.send_message(reply)
        return lowlevel.HANDLER_RESULT_HANDLED

    def _answer(self, message: lowlevel.Message) -> tuple[str, object]:
        path, member = message.get_path(), message.get_member()
        below = path.rstrip("/") + "/"
        tree = [each for each in self.items if each.startswith(below)]
        if path not in self.items and not tree and path != "/":
            raise _CallError("UnknownObject", f"no such object path '{path}'")
        if message.get_interface() == INTROSPECTABLE:
            return "s", _introspection(below, tree)
        if path == "/" and member == "GetItems":
            items = {each: self._attributes(each) for each in self.items}
            return "a{sa{sv}}", dbus.Dictionary(items, signature="sa{sv}")
        if path not in self.items:
            return self._answer_for_tree(member, below, tree)
        item = self.items[path]
        if member == "GetValue":
            return "v", wire(item.value, item.kind)
        if member == "GetText":
            return "s", item.text()
        if member == "SetValue":
            try:
                return "i", self.write(message.get_sender(), path, unwire(*message.get_args_list()))
            except RuntimeError as error:
                raise _CallError("Failed", str(error)) from error
        try:
            return "v", item.extra(member)
        except KeyError:
            raise _CallError("UnknownMethod", f"no method {member} at {path}") from None

    def _answer_for_tree(self, member: str, below: str, tree: list[str]) -> tuple[str, object]:
        if member == "GetValue":
            values = {p[len(below) :]: wire(self.items[p].value, self.items[p].kind) for p in tree}
        elif member == "GetText":
            values = {path[len(below) :]: self.items[path].text() for path in tree}
        else:
            raise _CallError("UnknownMethod", f"no method {member} at {below}")
        return "v", dbus.Dictionary(values, signature="sv", variant_level=1)


class _CallError(Exception):
    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.name = f"org.freedesktop.DBus.Error.{kind}"


def _introspection(below: str, tree: list[str]) -> str:
    children = sorted({path[len(below) :].split("/")[0] for path in tree})
    nodes = "".join(f'<node name="{child}"/>' for child in children)
    return f'<node><interface name="{BUS_ITEM}"/>{nodes}</node>'
