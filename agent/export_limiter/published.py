"""The agent's own D-Bus service: its status for GUIs, MQTT and other programs; read only.

Every MQTT client on the site's network could write a writable path, so there is none.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

import dbus
import dbus.service

from export_limiter import victron
from export_limiter.values import text_of, wrap

MANDATORY = {
    "/Mgmt/ProcessName": "venus-export-limiter",
    "/Mgmt/Connection": "D-Bus",
    "/DeviceInstance": 0,
    "/ProductId": 0,
    "/ProductName": "Export limiter",
    "/HardwareVersion": None,
    "/Connected": 1,
}
NOT_WRITABLE = 1  # velib's answer to SetValue on a path that is read only

# Typed here, once: dbus-python's own decorators have no types.
_Decorator = Callable[..., Callable[[Any], Any]]
_method: _Decorator = dbus.service.method
_signal: _Decorator = dbus.service.signal


class Published(dbus.service.FallbackObject):  # type: ignore[misc]
    """All paths of ``com.victronenergy.exportlimiter`` in one object.

    Raises :class:`ConnectionError` where another agent owns the name: two would fight over one
    control point.

    The dbus-python of the older images, 1.2.16, refuses to decorate what is annotated: the types
    of what it decorates are comments.
    """

    def __init__(self, connection: Any, version: str) -> None:
        try:
            # Not `_name`: that is dbus-python's own, and a name nobody holds is given back.
            self._own_name = dbus.service.BusName(
                victron.OWN_SERVICE, connection, do_not_queue=True, allow_replacement=False
            )
        except dbus.exceptions.NameExistsException:
            text = "%s is taken: another agent runs here" % victron.OWN_SERVICE
            raise ConnectionError(text) from None
        self._values: Dict[str, Any] = {
            **MANDATORY,
            "/Mgmt/ProcessVersion": version,
            "/FirmwareVersion": version,
        }
        super().__init__(connection, "/")

    def show(self, status: Dict[str, Any]) -> None:
        """Publish a status; one signal carries all that changed."""
        fresh = _paths_of(status)
        changed = {p: v for p, v in fresh.items() if p not in self._values or self._values[p] != v}
        self._values.update(changed)
        if changed:
            self.ItemsChanged({path: _item(value) for path, value in changed.items()})

    @_signal(victron.BUS_ITEM, signature="a{sa{sv}}")
    def ItemsChanged(self, items):  # noqa: N802 - the name on the bus
        # type: (Any) -> None
        """Values that changed together."""

    @_method(victron.BUS_ITEM, out_signature="a{sa{sv}}")
    def GetItems(self):  # noqa: N802 - the name on the bus
        # type: () -> Any
        """Every path with value and text."""
        return {p: _item(v) for p, v in self._values.items()}

    @_method(victron.BUS_ITEM, out_signature="v", path_keyword="path")
    def GetValue(self, path="/"):  # noqa: N802 - the name on the bus
        # type: (str) -> Any
        """One value, or the tree below a path."""
        return self._shown(path, wrap, "sv")

    @_method(victron.BUS_ITEM, out_signature="v", path_keyword="path")
    def GetText(self, path="/"):  # noqa: N802 - the name on the bus
        # type: (str) -> Any
        """One value as text, or the tree below a path."""
        return self._shown(path, text_of, "ss")

    @_method(victron.BUS_ITEM, in_signature="v", out_signature="i")
    def SetValue(self, value):  # noqa: N802 - the name on the bus
        # type: (Any) -> int
        """Refused: a limit is changed by deploying a configuration."""
        return NOT_WRITABLE

    def _shown(self, path: str, show: Callable[[Any], Any], signature: str) -> Any:
        if path in self._values:
            return show(self._values[path])
        start = path.rstrip("/") + "/"
        below = {p[len(start) :]: show(v) for p, v in self._values.items() if p.startswith(start)}
        if not below:
            raise dbus.exceptions.DBusException(
                "no such path: %s" % path, name="org.freedesktop.DBus.Error.UnknownObject"
            )
        return dbus.Dictionary(below, signature=signature, variant_level=1)


def _paths_of(status: Dict[str, Any]) -> Dict[str, Any]:
    limits = status["limits"]
    paths = {
        "/State": status["state"],
        "/Reason": status["reason"],
        "/Enforceable": int(status["enforceable"]),
        "/Binding": int(status["binding"]),
        "/Method": status["method"],
        "/ControlPoint": status["control_point"],
        "/Cap": status["cap_w"],
        "/Measured": status["measured_w"],
        "/InverterOutput": status["inverter_output_w"],
        "/GridExport": status["grid_export_w"],
        "/Limit": limits["max_multiplus_output_w"],
        "/GridExportLimit": limits["max_grid_export_w"],
    }
    for name, value in status["counters"].items():
        camel = "".join(part.capitalize() for part in name.split("_"))
        paths["/Counters/" + camel] = value
    return paths


def _item(value: Any) -> Any:
    return dbus.Dictionary({"Value": wrap(value), "Text": text_of(value)}, signature="sv")
