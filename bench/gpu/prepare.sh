#!/usr/bin/env bash
# Node.js, the program and, where they run, binaries, in $WORK. run.sh calls it once and sets the environment.
set -euo pipefail

# A rehearsal makes the bundle's program itself.
rehearsed() {
  export BUNDLE=$WORK/bundle
  bash "$HERE/bundle.sh" --beside --without-node "$BUNDLE"
}

node_here() {
  [[ -x $WORK/bin/node ]] && return
  mkdir -p "$WORK/bin"
  if [[ ! -f $BUNDLE/node.xz ]]; then
    command -v node >/dev/null && return
    echo "neither Node.js nor $BUNDLE/node.xz is here: bench/gpu/bundle.sh makes that file"
    return 1
  elif command -v xz >/dev/null; then
    xz -dc "$BUNDLE/node.xz" >"$WORK/bin/node"
  else
    python3 -c 'import lzma, shutil, sys
with lzma.open(sys.argv[1]) as packed, open(sys.argv[2], "wb") as plain: shutil.copyfileobj(packed, plain)' \
      "$BUNDLE/node.xz" "$WORK/bin/node"
  fi
  chmod +x "$WORK/bin/node"
}

# The program out of the bundle, the sources out of the checkout or the bundle.
program() {
  mkdir -p "$WORK/program/models" "$WORK/program/test"
  cp -Ru "$BUNDLE/program/." "$WORK/program/"
  cp -Ru "$ROOT/native" "$ROOT/CMakeLists.txt" "$WORK/program/"
  cp -Ru "$ROOT/models/numbers" "$WORK/program/models/"
  cp -Ru "$ROOT/test/fixtures" "$WORK/program/test/"
}

# The binaries of the bundle, if they run here on this card.
carried() {
  [[ -d $BUNDLE/built && ! ${REBUILD:-} && ! -f $WORK/addon.built ]] || return 0
  [[ $(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1) == 9.0 ]] || return 0
  mkdir -p "$WORK/program/build/Release" "$WORK/kernels"
  cp "$BUNDLE/built/mask_predict.node" "$WORK/program/build/Release/"
  cp "$BUNDLE/built/kernels" "$WORK/kernels/"
  chmod +x "$WORK/kernels/kernels"
  if node -e 'require(process.argv[1] + "/native/binding.cjs")' "$WORK/program" &&
    "$WORK/kernels/kernels" device >/dev/null; then
    touch "$WORK/addon.built" "$WORK/kernels.built" "$WORK/carried"
  else
    echo "the bundle's binaries do not run here: compiling"
    rm -rf "$WORK/program/build" "$WORK/kernels"
  fi
}

if [[ $DEVICE == simt ]]; then rehearsed; fi
node_here
node --version >/dev/null
program
if [[ $DEVICE == cuda ]]; then carried; fi
