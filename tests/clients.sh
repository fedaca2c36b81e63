# Sourced by the `run` scripts beside it: Node.js and Python tests whose packages are pinned, installed when they are
# needed, and counted like cargo's. REQUIRE_SDK=1 makes a missing node or python3 a failure.

# shellcheck shell=bash
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
# Longer than any good run by far: some clients wait for an answer without end.
limit=600

# skip WHAT NEEDS: says that tests cannot run. The 1 that is ignored stands for all of them.
skip() {
  if [ "${REQUIRE_SDK:-0}" != 0 ]; then
    echo "error: the tests $1 need $2, and REQUIRE_SDK=1 forbids skipping them" >&2
    return 1
  fi
  cat >&2 <<EOF

################################################################
#
#   SKIPPED: the tests $1
#
#   They need $2.
#   REQUIRE_SDK=1 makes this a failure.
#
################################################################

EOF
  echo "test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s"
}

node_is_usable() {
  command -v npm >/dev/null && command -v node >/dev/null &&
    node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)'
}

# install_node FOLDER
install_node() {
  cd "$1" || return
  if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --loglevel=error || return
  fi
}

# run_node FOLDER: its tests, with Node's own runner.
run_node() {
  install_node "$1" || return
  local log result=0
  log=$(mktemp) || return
  timeout --foreground "$limit" node --test \
    --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$log" || result=$?
  awk '
    $1 == "#" { count[$2] = $3 }
    END {
      passed = count["pass"]; failed = count["fail"] + count["cancelled"]
      printf "test result: %s. %d passed; %d failed; %d ignored; 0 measured; 0 filtered out; finished in %.2fs\n",
        (passed && !failed ? "ok" : "FAILED"), passed, failed, count["skipped"] + count["todo"],
        count["duration_ms"] / 1000
      exit !(passed && !failed)
    }' "$log" || result=1
  rm -f "$log"
  return "$result"
}

# The requirements hold for every Python from 3.11 on; older ones need more packages.
python_is_usable() {
  command -v python3 >/dev/null &&
    python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# install_python REQUIREMENTS ENVIRONMENT
install_python() {
  if ! cmp -s "$1" "$2/requirements.txt" || ! "$2/bin/python" -c '' 2>/dev/null; then
    rm -rf "$2"
    python3 -m venv "$2" || return
    "$2/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
      --requirement "$1" || return
    "$2/bin/python" -m pip check || return
    cp "$1" "$2/requirements.txt" || return
  fi
}

# run_python SCRIPT REQUIREMENTS ENVIRONMENT
run_python() {
  install_python "$2" "$3" || return
  timeout --foreground "$limit" "$3/bin/python" -B "$1"
}
