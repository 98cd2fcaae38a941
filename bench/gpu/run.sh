#!/usr/bin/env bash
# bench/gpu/run.sh STAGE...        (see README.md for which stages go together)
#
# Runs stages one after the other on a machine with an NVIDIA GPU and CUDA (nvcc, CMake, a C++20 compiler; Python 3
# with PyTorch and transformers for what is compared). Needs no Node.js and no network: they come from the bundle that
# bench/gpu/bundle.sh makes. Started in a checkout, with the bundle in build/gpu-bundle, or in the bundle itself.
#
# Every stage builds what it needs first, has a time limit, and leaves $OUT/STAGE.json; all write to $OUT/log.txt.
# A stage that fails does not stop the others; the exit code is 1 if one did. What a stage measured before it failed
# or ran out of time is in its JSON.
#
# Environment: OUT (default ./results), WORK (default build/gpu), BUNDLE, TOTAL (seconds for all stages, default 480;
# stages there is no time for are not run), REBUILD=1 (compiles even if the bundle has binaries). DEVICE=cpu or simt rehearses without a GPU, on tiny sizes; times then mean nothing, and the JSON says so.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
if [[ ! ${BUNDLE:-} ]]; then
  BUNDLE=$root
  [[ -d $root/program ]] || BUNDLE=$root/build/gpu-bundle
fi
OUT=${OUT:-results}
WORK=${WORK:-$root/build/gpu}
DEVICE=${DEVICE:-cuda}
mkdir -p "$OUT" "$WORK/records"
OUT=$(cd "$OUT" && pwd)
WORK=$(cd "$WORK" && pwd)
export OUT WORK DEVICE BUNDLE HERE=$here ROOT=$root
export PATH=$WORK/bin:$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
export PYTHONUNBUFFERED=1
log=$OUT/log.txt

# name: seconds it may take
declare -A limits=(
  [build]=900 [tests-ops]=240 [tests-engine]=420 [tests-api]=240
  [sanitizer-memcheck]=470 [sanitizer-racecheck]=470
  [measure]=120 [bench-linear]=240 [bench-attention]=150 [bench-head]=150 [bench-remask]=90
  [bench-jobs]=470 [bench-variants]=470 [bench-huggingface]=470 [table]=30
)

if (($# == 0)); then
  sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \?//'
  echo "Stages: $(tr ' ' '\n' <<<"${!limits[@]}" | sort | tr '\n' ' ')"
  exit 2
fi
for stage in "$@"; do
  [[ ${limits[$stage]:-} ]] || { echo "there is no stage '$stage'" >&2; exit 2; }
done

# Node and the program out of the bundle, the sources out of the checkout or the bundle.
prepare() {
  if [[ ! -x $WORK/bin/node ]]; then
    mkdir -p "$WORK/bin"
    if command -v xz >/dev/null; then
      xz -dc "$BUNDLE/node.xz" >"$WORK/bin/node"
    else
      python3 -c 'import lzma, shutil, sys
with lzma.open(sys.argv[1]) as packed, open(sys.argv[2], "wb") as plain: shutil.copyfileobj(packed, plain)' \
        "$BUNDLE/node.xz" "$WORK/bin/node"
    fi
    chmod +x "$WORK/bin/node"
  fi
  mkdir -p "$WORK/program"
  cp -Ru "$BUNDLE/program/." "$WORK/program/"
  cp -Ru "$root/native" "$root/CMakeLists.txt" "$WORK/program/"
  mkdir -p "$WORK/program/models" "$WORK/program/test"
  cp -Ru "$root/models/numbers" "$WORK/program/models/"
  cp -Ru "$root/test/fixtures" "$WORK/program/test/"
  node --version >/dev/null
}

# The binaries of the bundle, if they run here on this card.
carry() {
  [[ $DEVICE == cuda && -d $BUNDLE/built && ! ${REBUILD:-} && ! -f $WORK/addon.built ]] || return 0
  [[ $(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1) == 9.0 ]] || return 0
  mkdir -p "$WORK/program/build/Release" "$WORK/kernels"
  cp "$BUNDLE/built/mask_predict.node" "$WORK/program/build/Release/"
  cp "$BUNDLE/built/kernels" "$WORK/kernels/"
  chmod +x "$WORK/kernels/kernels"
  if node -e 'require(process.argv[1] + "/native/binding.cjs")' "$WORK/program" &&
    "$WORK/kernels/kernels" device >/dev/null; then
    touch "$WORK/addon.built" "$WORK/kernels.built" "$WORK/carried"
  else
    echo "the bundle's binaries do not run here: compiling" | tee -a "$log"
    rm -rf "$WORK/program/build" "$WORK/kernels"
  fi
}

prepare
carry
failed=0
for stage in "$@"; do
  export STAGE=$stage RESULTS=$WORK/records/$stage.jsonl
  : >"$RESULTS"
  begun=$(date +%s)
  code=0
  left=$((${TOTAL:-480} - SECONDS))
  if ((left < 20)); then
    echo "== $stage: not run, the time for all stages is used up" | tee -a "$log"
    failed=1
    continue
  fi
  echo "== $stage, $(date -u +%FT%TZ)" | tee -a "$log"
  timeout -k 10 $((left < limits[$stage] ? left : limits[$stage])) bash "$here/stage.sh" "$stage" 2>&1 | tee -a "$log" || code=$?
  node "$here/finish.mjs" "$code" "$(($(date +%s) - begun))" | tee -a "$log"
  ((code == 0)) || failed=1
done
exit "$failed"
