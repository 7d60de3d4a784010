#!/usr/bin/env bash
# Installs the programs that the tests beside this file serve, and what judges the status page:
# Debian packages where a command is missing, and what comes from npm and PyPI into target/programs,
# or $TEST_PROGRAMS.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=${TEST_PROGRAMS:-$PWD/target/programs}

packages=()
# needs FILE-OR-COMMAND PACKAGE...
needs() {
    if [[ ! -e $1 ]] && ! command -v "$1" >/dev/null; then
        packages+=("${@:2}")
    fi
}
needs python3 python3
needs sed sed
needs gawk gawk
needs jq jq
needs bc bc
needs dc dc
needs gdb gdb
needs swipl swi-prolog-nox
needs c++filt binutils
needs cs2cs proj-bin
needs gp pari-gp
needs factor coreutils
needs xargs findutils
needs units units
needs hunspell hunspell
needs pandoc pandoc
needs /usr/share/hunspell/en_US.aff hunspell-en-us
needs aspell aspell
needs /usr/lib/aspell/en.multi aspell-en
needs exiftool libimage-exiftool-perl
needs sqlite3 sqlite3
needs mecab mecab mecab-ipadic-utf8
needs dot graphviz
needs /usr/lib/squid/url_fake_rewrite squid
needs erl erlang-base
needs npm npm
# The proxies of examples/.
needs /usr/sbin/haproxy haproxy
needs /usr/sbin/nginx nginx-light
python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)

if ((${#packages[@]} > 0)); then
    echo "installing: ${packages[*]}"
    sudo=()
    if ((EUID != 0)); then
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        -o Dpkg::Use-Pty=0 --no-install-recommends "${packages[@]}"
fi

if [[ ! -e $place/node_modules/.bin/mcp-server-everything ]] ||
    [[ ! -e $place/node_modules/.bin/bash-language-server ]] ||
    [[ ! -e $place/node_modules/.bin/tsserver ]] ||
    [[ ! -e $place/node_modules/axe-core ]] ||
    [[ ! -e $place/node_modules/@modelcontextprotocol/sdk ]]; then
    npm install --prefix "$place" --no-audit --no-fund --loglevel=error \
        @modelcontextprotocol/server-everything@2026.8.31 bash-language-server@5.8.1 \
        typescript@5.9.3 @modelcontextprotocol/sdk@1.32.2 axe-core@4.14.1
fi
if [[ ! -e $place/python/ejabberd_extauth.py || ! -e $place/python/pynetstring.py ]]; then
    python3 -m pip install --quiet --target "$place/python" --upgrade \
        --disable-pip-version-check --root-user-action=ignore \
        ejabberd-extauth==1.0.1 pynetstring==0.5
fi
if [[ ! -e $place/mcp/mcp ]]; then
    python3 -m pip install --quiet --target "$place/mcp" \
        --disable-pip-version-check --root-user-action=ignore mcp==2.3.0
fi
if [[ ! -e $place/python/sklearn || ! -e $place/python/httpx || ! -e $place/python/PIL ]]; then
    # For examples/python-*: 330 MB, half a minute.
    python3 -m pip install --quiet --target "$place/python" --upgrade \
        --disable-pip-version-check --root-user-action=ignore \
        numpy pillow scikit-learn httpx pydantic
fi
if [[ ! -e $place/openapi/schemathesis || ! -e $place/openapi/openapi_spec_validator ]]; then
    # They read what `httpipe openapi` writes, and ask what it allows.
    python3 -m pip install --quiet --target "$place/openapi" --upgrade \
        --disable-pip-version-check --root-user-action=ignore \
        openapi-spec-validator==0.9.0 schemathesis==4.32.5
fi
