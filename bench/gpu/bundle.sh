#!/usr/bin/env bash
# bench/gpu/bundle.sh [--beside] [--built] [--without-node] [FOLDER]
#
# Makes the folder (default build/gpu-bundle) with which bench/gpu/run.sh works on a machine that has an NVIDIA GPU
# and CUDA, but neither Node.js nor a network:
#   node.xz               Node.js without its symbols; Python's standard library unpacks xz wherever xz is missing. Not
#                         with --without-node: the machine's own is taken then
#   commit                what all of it was made of
#   program/              dist/, the tests compiled to JavaScript, and what they and the addon need of node_modules
#   native/ models/ ...   the sources, the demo model, the fixtures and bench/gpu; then bench/gpu/run.sh of the folder
#                         is run in the folder itself. With --beside they are left out: the folder then lies inside a
#                         checkout (build/gpu-bundle) that has them.
#   built/                with --built: the addon and the kernel benchmarks, compiled here for sm_90 (needs nvcc), so that
#                         no time goes into that there; where they do not run, they are compiled there all the same
# Prints the size and refuses, with exit code 1, a bundle above 60 MiB. Needs the repository's node_modules.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

most_mebibytes=60
beside='' built='' node=1 out=build/gpu-bundle
for argument in "$@"; do
  case $argument in
    --beside) beside=1 ;;
    --built) built=1 ;;
    --without-node) node='' ;;
    -*) sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \?//'; exit 2 ;;
    *) out=$argument ;;
  esac
done
program=$out/program
rm -rf "$out"
mkdir -p "$program/node_modules" "$program/include"

node_archive() {
  local node stripped=$out/node
  node=$(node -p process.execPath)
  cp "$node" "$stripped"
  strip --strip-unneeded "$stripped" 2>/dev/null || cp "$node" "$stripped"
  "$stripped" --version >/dev/null || cp "$node" "$stripped"
  xz -6 -T0 "$stripped"
}

compiled() {
  cp package.json "$program/"
  # Types are the lint's.
  npx tsc --noCheck --outDir "$program/dist" --declaration false --sourceMap false --inlineSources false
  # lib/ and test/ side by side, as the tests' imports want them
  npx tsc --noCheck -p test --noEmit false --outDir "$program" --declaration false --sourceMap false --inlineSources false
  cp -R bench/gpu/tap "$program/node_modules/tap"
  cp -R node_modules/node-gyp-build node_modules/sentencepiece-js "$program/node_modules/"
  cp node_modules/node-api-headers/include/*.h node_modules/node-addon-api/*.h "$program/include/"
}

sources() {
  mkdir -p "$out/bench" "$out/models" "$out/test"
  cp -R native CMakeLists.txt LICENSE "$out/"
  cp -R bench/gpu "$out/bench/"
  cp -R models/numbers "$out/models/"
  cp -R test/fixtures "$out/test/"
}

binaries() {
  local work=build/gpu-built
  rm -rf "$work"
  BUNDLE=$(realpath "$out") WORK=$work OUT=$work bench/gpu/run.sh build
  mkdir "$out/built"
  cp "$work/program/build/Release/mask_predict.node" "$work/kernels/kernels" "$out/built/"
  strip "$out/built/kernels"
  nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p' >"$out/built/toolkit"
  rm -rf "$work"
}

[[ $node ]] && node_archive
compiled
git rev-parse HEAD >"$out/commit" 2>/dev/null || rm -f "$out/commit"
[[ $built ]] && binaries
[[ $beside ]] || sources

bytes=$(du -sb "$out" | cut -f1)
echo "$out: $((bytes / 1048576)) MiB"
if ((bytes > most_mebibytes * 1048576)); then
  echo "more than $most_mebibytes MiB: refused" >&2
  exit 1
fi
