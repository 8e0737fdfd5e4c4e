"""TLS between client, scheduler and workers, from one folder of three files.

``ca.pem`` is the certificate of the authority, ``cert.pem`` and ``key.pem`` are ours. Everyone must show a certificate
of that authority. Host names are not compared, because Dask does not compare them.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigcp3d.errors import InputError

if TYPE_CHECKING:
    from distributed import Security

FILES = {"ca_file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
OURS = ("cert", "key")
ROLES = ("client", "scheduler", "worker")


def find_files(folder: str | Path) -> dict[str, Path]:
    """The three files of a folder. Raises an `InputError` for missing or wrong ones. Imports no Dask."""
    paths = {what: Path(folder).expanduser().resolve() / name for what, name in FILES.items()}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise InputError(
            f"TLS needs {', '.join(FILES.values())} in one folder; missing: {', '.join(missing)}; make "
            "them with openssl (the certificate of an authority, and a certificate and key that it signed)"
        )
    try:
        context = ssl.create_default_context(cafile=str(paths["ca_file"]))
        context.load_cert_chain(paths["cert"], paths["key"])
    except (ssl.SSLError, OSError) as error:
        raise InputError(
            f"the TLS files in {folder} cannot be used: {error}; make them again, or give another --tls folder"
        ) from error
    return paths


def load_security(folder: str | Path | None) -> Security | None:
    """Dask's settings for TLS; None without a folder. Errors as `find_files`."""
    if folder is None:
        return None
    from distributed import Security

    paths = find_files(folder)
    ours = {f"tls_{role}_{what}": str(paths[what]) for role in ROLES for what in OURS}
    return Security(require_encryption=True, tls_ca_file=str(paths["ca_file"]), **ours)


def as_dask_settings(security: Security | None) -> dict[str, Any]:
    """The same settings as Dask's configuration, for processes that inherit it."""
    if security is None:
        return {}
    settings = {"require-encryption": True, "tls.ca-file": security.tls_ca_file}  # type: ignore[attr-defined]
    settings |= {f"tls.{role}.{what}": getattr(security, f"tls_{role}_{what}") for role in ROLES for what in OURS}
    return {f"distributed.comm.{name}": value for name, value in settings.items()}
