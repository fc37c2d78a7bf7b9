"""Writes a web archive of the pages and pictures of installed Debian packages, as a crawler would have left it.

    apt-get install --no-install-recommends gimp-help-en python-sklearn-doc python-skimage-doc grass-doc imagemagick-6-doc povray-doc kicad-doc-en
    pip install warcio
    python tools/docs-warc/make.py docs.warc.gz

Packages may be named behind the file. Each file of a package has the address https://PACKAGE.example/PATH. Every third page is
compressed as servers compress, every fifth is sent in chunks. The same packages give the same bytes.
"""

import gzip
import io
import os
import subprocess
import sys
import uuid

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

PACKAGES = "gimp-help-en python-sklearn-doc python-skimage-doc grass-doc imagemagick-6-doc povray-doc kicad-doc-en".split()
TYPES = {".html": "text/html; charset=utf-8", ".htm": "text/html", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif"}
DATE = "2026-01-01T00:00:00Z"


def files(package):
    """Yields the package's pages and pictures with their paths from the folder that all of them share."""
    listed = subprocess.run(["dpkg", "-L", package], check=True, capture_output=True, text=True).stdout.splitlines()
    found = sorted(p for p in listed if os.path.splitext(p)[1].lower() in TYPES and os.path.isfile(p))
    top = os.path.commonpath(found)
    for path in found:
        yield path, os.path.relpath(path, top)


def chunks(data, size=4096):
    out = b"".join(b"%x\r\n%s\r\n" % (len(data[i : i + size]), data[i : i + size]) for i in range(0, len(data), size))
    return out + b"0\r\n\r\n"


def main(out, packages):
    pages = pictures = 0
    with open(out, "wb") as sink:
        writer = WARCWriter(sink, gzip=True)
        for package in packages:
            for path, name in files(package):
                with open(path, "rb") as f:
                    data = f.read()
                kind = TYPES[os.path.splitext(path)[1].lower()]
                headers = [("Content-Type", kind)]
                if kind.startswith("text/html"):
                    pages += 1
                    if pages % 3 == 0:
                        data = gzip.compress(data, mtime=0)
                        headers.append(("Content-Encoding", "gzip"))
                    if pages % 5 == 0:
                        data = chunks(data)
                        headers.append(("Transfer-Encoding", "chunked"))
                else:
                    pictures += 1
                address = f"https://{package}.example/{name}"
                record = writer.create_warc_record(
                    address, "response", payload=io.BytesIO(data), http_headers=StatusAndHeaders("200 OK", headers, protocol="HTTP/1.1"),
                    warc_headers_dict={"WARC-Date": DATE, "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, address)}>"})
                writer.write_record(record)
    print(f"{out}: {pages} pages, {pictures} pictures, {os.path.getsize(out) / 1e6:.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or PACKAGES)
