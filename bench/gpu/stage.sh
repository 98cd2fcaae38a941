#!/usr/bin/env bash
# One stage of run.sh, which sets the environment. Results are appended to $RESULTS, one JSON object a line.
set -euo pipefail

program=$WORK/program
tiny=()
[[ $DEVICE == cuda ]] || tiny=(--tiny)

architecture() {
  local found
  found=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d '. ') || true
  echo "${found:-90}"
}

configure() {  # source, build folder, options
  local options=(-DCMAKE_BUILD_TYPE=Release)
  case $DEVICE in
    cuda) options+=(-DMASK_PREDICT_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=$(architecture)-real"
      "-DCMAKE_CUDA_FLAGS=-Xptxas -v -lineinfo") ;;
    simt) options+=(-DMASK_PREDICT_SIMT=ON) ;;
  esac
  command -v ninja >/dev/null && options+=(-G Ninja)
  cmake -S "$1" -B "$2" "${options[@]}" "${@:3}" >"$2.log" 2>&1 || { tail -40 "$2.log"; return 1; }
  cmake --build "$2" --parallel "$(nproc)" >>"$2.log" 2>&1 || { grep -E -A6 'error|FAILED' "$2.log" | head -80; return 1; }
}

# Time and the compiler's report: kernels that spill registers, of all there are.
compiled() {  # what, its log, seconds
  local spills
  spills=$(grep -cE '[1-9][0-9]* bytes spill' "$2" || true)
  printf '{"built":"%s","seconds":%s,"kernels":%s,"spilling":%s}\n' "$1" "$3" \
    "$(grep -c 'Compiling entry function' "$2" || true)" "${spills:-0}" >>"$RESULTS"
}

build_addon() {
  local begun=$SECONDS
  [[ -f $WORK/addon.built ]] && return 0
  configure "$program" "$WORK/addon" "-DCMAKE_JS_INC=$program/include" || return 1
  node -e 'require(process.argv[1] + "/native/binding.cjs")' "$program" || return 1
  compiled addon "$WORK/addon.log" $((SECONDS - begun))
  touch "$WORK/addon.built"
}

build_kernels() {
  local begun=$SECONDS
  [[ $DEVICE == cpu ]] && { echo "the kernel benchmarks need DEVICE=cuda or simt"; return 1; }
  [[ -f $WORK/kernels.built ]] && return 0
  configure "$HERE/kernels" "$WORK/kernels" "-DMASK_PREDICT_ROOT=$program" || return 1
  compiled kernels "$WORK/kernels.log" $((SECONDS - begun))
  touch "$WORK/kernels.built"
}

run_tests() {  # group, options
  build_addon || return 1
  [[ $DEVICE == cpu ]] || export MASK_PREDICT_DEVICE=$DEVICE
  node "$HERE/run-tests.mjs" "${@:2}" "$program" "$1"
}

# A program under compute-sanitizer, on tiny sizes; its own results are of no interest.
sanitized() {  # name, command
  local code=0 begun=$SECONDS log=$WORK/sanitized.$1.log
  RESULTS='' timeout 150 $under "${@:2}" --tiny >"$log" 2>&1 || code=$?
  ((code == 0)) || tail -60 "$log"
  printf '{"file":"%s","passed":%d,"failed":%d,"outcome":"%s","seconds":%d,"failures":[]}\n' "$1" \
    $((code == 0)) $((code != 0)) "$( ((code == 0)) && echo ok || echo "exit code $code")" \
    $((SECONDS - begun)) | tee -a "$RESULTS"
  return "$code"
}

# All kernels in bfloat16, the engine with its graphs, and the operations' tests.
sanitizer() {
  local code=0
  command -v compute-sanitizer >/dev/null || { echo "there is no compute-sanitizer"; return 1; }
  under="compute-sanitizer --tool $1 --error-exitcode 9 --print-limit 20 --target-processes all"
  build_kernels
  build_addon
  sanitized kernels "$WORK/kernels/kernels" linear attention head remask || code=1
  sanitized jobs node "$HERE/jobs.mjs" "$program" || code=1
  run_tests ops --jobs 6 --limit 300 --under "$under" || code=1
  return "$code"
}

kernels() { build_kernels && "$WORK/kernels/kernels" "$@" "${tiny[@]}" | tee -a "$RESULTS"; }
peer() { python3 "$HERE/peers/$1.py" "${@:2}" "${tiny[@]}"; }  # appends to $RESULTS itself

# Ours first; what it is compared with may be missing without harm to that, and the other way round.
compared() {
  local code=0
  kernels "$1" || code=1
  peer kernels "$1" || code=1
  return "$code"
}

case $1 in
  build)
    [[ -f $WORK/carried ]] && echo '{"built":"from the bundle","seconds":0}' | tee -a "$RESULTS"
    build_addon
    [[ $DEVICE == cpu ]] || build_kernels
    ;;
  tests-ops) run_tests ops --limit 200 ;;
  tests-engine) run_tests engine --limit 300 ;;
  tests-api) run_tests api --limit 200 ;;
  sanitizer-*) sanitizer "${1#sanitizer-}" ;;
  measure | bench-linear | bench-attention | bench-head | bench-remask) compared "${1#bench-}" ;;
  bench-jobs)
    build_addon
    node "$HERE/jobs.mjs" "$program" "${tiny[@]}"
    ;;
  bench-variants)
    build_addon
    node "$HERE/jobs.mjs" "$program" --variants "${tiny[@]}"
    ;;
  bench-huggingface) peer huggingface ;;
  table) node "$HERE/table.mjs" "$OUT" | tee "$OUT/table.md" ;;
  *) echo "there is no stage '$1'"; exit 2 ;;
esac
