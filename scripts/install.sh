#!/usr/bin/env bash
# Installs what this machine lacks, and nothing else; quick when nothing is missing.
#
#   scripts/install.sh build     compile: C and C++ compilers, make, perl (OpenSSL, librdkafka and zstd are built from source)
#   scripts/install.sh test      build, and: Java and Maven for the real servers, Python with the stock Confluent client and aiosmtpd,
#                                Chromium with its driver, kcat, curl
#   scripts/install.sh verify    test, and: cargo-deny, rustfmt, clippy
#
# Debian packages need root; without it the script says what to run and ends with 1. The rest goes to .tools/ in this folder.
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO_DENY_VERSION=0.20.2
what=${1:-}
packages=()

say() { echo "install: $*" >&2; }

has() { command -v "$1" >/dev/null; }

# need PACKAGE TEST...: the package is wanted unless the test succeeds.
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || packages+=("$package")
}

build_packages() {
  need gcc has cc
  need g++ has c++
  need libc6-dev test -e /usr/include/stdio.h
  need make has make
  # Debian's base has a perl without the modules that OpenSSL is configured with.
  need perl perl -MFindBin -MIPC::Cmd -MTime::Piece -e 1
  need pkg-config has pkg-config
  need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
}

test_packages() {
  need curl has curl
  need "$(java_package)" java_works
  need maven has mvn
  need python3 has python3
  need python3-venv python3 -c 'import ensurepip, venv'
  need chromium has chromium
  need chromium-driver has chromedriver
  need kcat has kcat
}

# As the harness looks for it. Only running tells a launcher from a version manager's stand-in for one.
java_works() { "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version; }

# 17, or 21 from Debian 13 on; Cassandra 5.0 runs on no later one.
java_package() {
  if grep -qs '^VERSION_ID="1[0-2]"' /etc/os-release; then echo openjdk-17-jre-headless; else echo openjdk-21-jre-headless; fi
}

apt_install() {
  [ ${#packages[@]} -gt 0 ] || return 0
  local command="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
  if ! has apt-get; then
    say "missing: ${packages[*]} (Debian's names). Install them with this system's package manager and run this again."
    exit 1
  fi
  if [ "$(id -u)" != 0 ]; then
    say "missing: ${packages[*]}"
    say "run as root: $command"
    exit 1
  fi
  say "installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update
  apt-get -q install -y --no-install-recommends "${packages[@]}"
}

python_venv() {
  local venv=.tools/venv list=scripts/requirements.txt
  # The copy is written last, so a venv that was only half made is made again.
  cmp -s "$list" "$venv/requirements.txt" && return 0
  say "python packages into $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$list"
  cp "$list" "$venv/requirements.txt"
}

cargo_deny() {
  [ "$(.tools/bin/cargo-deny --version 2>/dev/null)" = "cargo-deny $CARGO_DENY_VERSION" ] && return 0
  say "cargo-deny $CARGO_DENY_VERSION into .tools/bin (a few minutes, once)"
  cargo install --locked --root .tools "cargo-deny@$CARGO_DENY_VERSION"
}

rust_components() {
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
  say "rustfmt and clippy"
  rustup component add rustfmt clippy
}

has cargo || { say "the Rust toolchain is missing: see https://rustup.rs"; exit 1; }

case $what in
  build) build_packages; apt_install ;;
  test) build_packages; test_packages; apt_install; python_venv ;;
  verify) build_packages; test_packages; apt_install; python_venv; rust_components; cargo_deny ;;
  *) say "usage: scripts/install.sh build|test|verify"; exit 2 ;;
esac
