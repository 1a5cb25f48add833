# SPDX-License-Identifier: Apache-2.0
"""What nginx is told when it serves machines.

It answers a name by two steps: the link's target says which digest the name has at this
moment, and then it sends the blob of this digest. So the ETag that is sent and the bytes are the
same, whatever is published meanwhile. What has no link, and every request with conditions,
goes to the rack.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from webapp.rack.links import NOW_PARTS, PINNED_PARTS
from webapp.server import crowds, incoming, planes, sending

MAIN = """\
# Written by Slipway at each start; changes are lost.
{user}
daemon off;
pcre_jit on;
worker_processes {workers};
worker_shutdown_timeout {grace}s;
pid "{rack}.pid";
error_log stderr error;
events {{
    worker_connections 8192;
}}
http {{
    access_log off;
    log_not_found off;
    server_tokens off;
    sendfile on;
    sendfile_max_chunk 2m;
    tcp_nopush on;
    keepalive_timeout {idle}s;
    keepalive_requests 1000000;
    client_header_timeout {head}s;
    client_body_timeout {head}s;
    send_timeout {stall}s;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    # (rule: efi-type)
    types {{
        application/efi efi;
    }}
    default_type application/octet-stream;
    log_format fetched escape=json
        '{{"peer":"$remote_addr","via":"{via}","name":"$name","sha256":"$sha256",'
        '"status":$status,"sent":$body_bytes_sent}}';
    # nginx doesn't know our ETag while it looks at conditions.
    map "{asked}" $is_for_rack {{
        "GET:" "";
        "HEAD:" "";
        default 1;
    }}
    # nginx refuses odd and very long ranges; the rack reads them as RFC 9110 does.
    map $http_range $odd_range {{
        "" "";
        "~^bytes=([0-9]{{1,18}}-[0-9]{{0,18}}|-[0-9]{{1,18}})$" "";
        default 1;
    }}
    map $request_method $is_fetch {{
        GET 1;
        default 0;
    }}
    map $realpath_root $linked {{
        "~/(?<digest>[0-9a-f]{{64}}),(?<modified>[^/]+ GMT),(?<version>[^/]+)$" $digest;
        default "";
    }}
    # A refused range must not be kept for ever.
    map $http_range $pinned_caching {{
        "" "public, max-age=31536000, immutable";
        default "no-cache";
    }}
    # Which connections count, each while it has a request.
    map $remote_addr $counted {{
        default $binary_remote_addr;
{uncounted}
    }}
    limit_conn_zone $counted zone=addresses:10m;
    limit_conn_log_level info;
    limit_conn_status 429;
    log_format refused escape=json '{{"refused":"$remote_addr"}}';
    upstream slipway_rack {{
        server unix:{rack};
        keepalive 64;
    }}
    server {{
        listen {listen} backlog={backlog};
        recursive_error_pages on;
        error_page 418 = @rack;
        error_page 502 504 =503 @away;
        error_page 429 @crowd;
        {limit}
        location / {{
            error_page 418 = @rack;
            return 418;
        }}
        location @rack {{
            proxy_pass http://slipway_rack$request_uri;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_max_temp_file_size 0;
            proxy_read_timeout 300s;
            # The rack waits for no body; one that comes in drops would hold nginx for hours.
            proxy_request_buffering off;
        }}
        location @crowd {{
            internal;
            default_type "text/plain; charset=utf-8";
            add_header Retry-After 5 always;
            add_header Cache-Control no-store always;
            access_log "{fetches}" refused buffer=4k flush=1s;
            return 429 "Too Many Connections.\\n";
        }}
        location @away {{
            internal;
            default_type "text/plain; charset=utf-8";
            add_header Retry-After 5 always;
            add_header Cache-Control no-store always;
            return 503 "The rack isn't there just now.\\n";
        }}
        location @range {{
            internal;
            default_type "text/plain; charset=utf-8";
            return 416 "The file has no such bytes.\\n";
        }}
{places}
        location ~ "^/:blob/(?<hash>(?<start>..).{{62}})/" {{
            internal;
            alias "{blobs}/$start/$hash";
            etag off;
            max_ranges 1;
            add_header ETag "\\"$hash\\"";
            add_header Last-Modified $modified;
            add_header X-Slipway-Version $version;
            add_header Cache-Control $caching;
            add_header X-Content-Type-Options nosniff;
            # Pieces up to 4 kB reach a pipe unmixed with those of other processes.
            access_log "{fetches}" fetched buffer=4k flush=1s if=$is_fetch;
            error_page 403 404 418 = @rack;
            error_page 416 @range;
            error_page 429 @crowd;
        }}
    }}
}}
"""

# A request that has more than its method among these is for the rack.
ASKED = (
    "$request_method:$http_if_match$http_if_none_match$http_if_range"
    "$http_if_modified_since$http_if_unmodified_since$http_want_repr_digest$odd_range"
)

PLACE = """\
        location ~ "^/images/{pattern}$" {{
            if ($is_for_rack) {{
                return 418;
            }}
            alias "{links}/{kind},{folder}/${kind}_file";
            if (!-f $request_filename) {{
                return 418;
            }}
            set $name "{name}/${kind}_file";
            set $caching {caching};
            set $sha256 $linked;
            if ($sha256 = "") {{
                return 418;
            }}
            rewrite ^ /:blob/$sha256/${kind}_file last;
        }}
"""


def place(kind: str, parts: int, caching: str, links: Path) -> str:
    """How names of one kind are found; those with a comma have no link."""
    names = [f"{kind}_{number}" for number in range(parts)]
    pattern = "".join(f"(?<{name}>[^/,]+)/" for name in names) + f"(?<{kind}_file>[^/]+)"
    values = [f"${name}" for name in names]
    return PLACE.format(
        pattern=pattern,
        kind=kind,
        folder=",".join(values),
        name="/".join(values),
        caching=caching,
        links=links,
    )


@dataclass(frozen=True)
class Site:
    """Where everything is. folder: nginx's own. listen: address and port.

    rack: the socket that the rack answers on; fetches: the pipe that is told of each fetch and
    of each connection that was refused. most_per_address: connections; 0 for any number.
    """

    folder: Path
    listen: str
    links: Path
    blobs: Path
    rack: Path
    fetches: Path
    workers: int
    backlog: int
    grace_s: int
    has_proxies: bool
    most_per_address: int

    def text(self) -> str:
        """nginx's configuration."""
        places = [
            place("now", NOW_PARTS, "no-cache", self.links),
            place("pinned", PINNED_PARTS, "$pinned_caching", self.links),
        ]
        most = self.most_per_address
        return MAIN.format(
            idle=planes.KEEPALIVE_S,
            head=int(incoming.HEAD_S),
            stall=int(sending.STALL_S),
            uncounted="\n".join(f'        "{one}" "";' for one in crowds.FOR_MANY if one),
            limit=f"limit_conn addresses {most};" if most else "",
            asked=ASKED,
            user="user root;" if os.geteuid() == 0 else "",
            workers=self.workers,
            grace=self.grace_s,
            folder=self.folder,
            via="$http_x_forwarded_for" if self.has_proxies else "",
            rack=self.rack,
            listen=self.listen,
            backlog=self.backlog,
            blobs=self.blobs,
            fetches=self.fetches,
            places="".join(places).rstrip(),
        )
