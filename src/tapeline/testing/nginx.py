"""nginx as a web server that takes files: its DAV module stores what is PUT to it as a file under `files`, and serves it again.

It runs in a folder of its own, as one process that never goes to the background.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote

from tapeline.testing.process import Child, Daemon, free_port, until

__all__ = ["Nginx", "nginx_missing"]

_CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 1024;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            root {folder}/files;
            dav_methods PUT DELETE MKCOL COPY MOVE;
            create_full_put_path on;
            dav_access user:rw;
        }}
        location /moved/ {{
            return 301 http://127.0.0.1:{port}/there$request_uri;
        }}
    }}
}}
"""


def nginx_missing() -> str:
    """Why nginx cannot be used here, or nothing."""
    return "" if shutil.which("nginx", path=_PATH) else "nginx is not installed (Debian package nginx-light); run scripts/peers"


_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


class Nginx(Daemon):
    """The server at `url`. What is PUT to `/a/b` is the file `files / "a/b"`; what goes to `/moved/x` is sent on to `/there/moved/x`."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.address = ("127.0.0.1", port or free_port())
        self._folder = folder
        self.url = f"http://127.0.0.1:{self.address[1]}"
        config = folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder.absolute(), port=self.address[1]))
        program = shutil.which("nginx", path=_PATH) or "nginx"
        self.child = Child("nginx", [program, "-p", str(folder.absolute()), "-c", str(config.absolute()), "-e", "stderr"], folder)

    def file(self, path: str) -> Path:
        """The file that a PUT to `path`, given without percent-encoding, becomes."""
        return self.files / path.lstrip("/")

    def wait_for(self, path: str, timeout_s: float = 30.0) -> bytes:
        """The content of the file at `path`, once it is there: nginx moves it there when it is whole. Raises ChildFailed."""
        until(self.file(path).is_file, f"a file at {quote(path)}", timeout_s)
        return self.file(path).read_bytes()

    def requests(self) -> list[str]:
        """The request lines so far, in the order in which they were answered: `PUT /a/b HTTP/1.1` and the status."""
        log = self._folder / "access.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [f"{parts[1]} {parts[2].split()[0]}" for line in lines if len(parts := line.split('"')) > 2]
