"""A real nginx with TLS before a site, configured by `deploy/nginx.conf` as people paste it."""

import os
import re
import shutil
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.prepared import PROJECT
from tests.waiting import WAIT_LIMIT, wait_until

UNPACKED = PROJECT / ".venv/nginx/usr/sbin/nginx"  # where bin/test puts it
MAIN = """
daemon off;
master_process on;
worker_processes 2;
worker_shutdown_timeout 1s;
pid {folder}/nginx.pid;
error_log stderr notice;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def nginx_program() -> str:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx") or (str(UNPACKED) if UNPACKED.exists() else None)
    assert program, "bin/test fetches nginx, or says how"
    return program


class Nginx:
    """`with Nginx(folder, site.port) as nginx:` passes what comes to `nginx.url` on to the site."""

    def __init__(self, folder: Path, target: int) -> None:
        self.folder = folder
        self.port, self.plain_port = _free_ports(2)
        _write_certificate(folder)
        (folder / "site.conf").write_text(self._site(target))
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        self.command = [nginx_program(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]

    def __enter__(self) -> Self:
        self._log = (self.folder / "nginx.log").open("w")
        self.process = subprocess.Popen(self.command, stdout=self._log, stderr=subprocess.STDOUT)
        wait_until(self._listens)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(WAIT_LIMIT)
        self._log.close()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def certificate(self) -> Path:
        return self.folder / "fullchain.pem"

    def reload(self) -> None:
        """Read the configuration anew, as after a new certificate: connections move to new workers."""
        self.process.send_signal(signal.SIGHUP)

    def complaints(self) -> str:
        """Check the configuration; return what nginx says of it."""
        return subprocess.run([*self.command, "-t"], capture_output=True, text=True, check=False).stderr

    def _site(self, target: int) -> str:
        text = (PROJECT / "deploy/nginx.conf").read_text()
        text = re.sub(r"listen \[::\]:\d+[^;]*;\n", "", text)  # there may be no IPv6 here
        for sample, actual in (
            ("listen 80;", f"listen 127.0.0.1:{self.plain_port};"),
            ("listen 443", f"listen 127.0.0.1:{self.port}"),
            ("/etc/letsencrypt/live/chat.example.org", str(self.folder)),
            ("chat.example.org", "localhost"),
            ("127.0.0.1:8000", f"127.0.0.1:{target}"),
        ):
            assert sample in text, sample
            text = text.replace(sample, actual)
        return text

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "nginx.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
