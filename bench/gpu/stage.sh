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
  cmake --build "$2" --parallel "${JOBS:-$(nproc)}" >>"$2.log" 2>&1 ||
    { grep -E -A6 'error|FAILED' "$2.log" | head -80; return 1; }
}

# Time and the compiler's report: kernels that spill registers, of all there are.
compiled() {  # what, its log, seconds
  local spills
  spills=$(grep -cE '[1-9][0-9]* bytes spill' "$2" || true)
  printf '{"built":"%s","seconds":%s,"kernels":%s,"spilling":%s}\n' "$1" "$3" \
    "$(grep -c 'Compiling entry function' "$2" || true)" "${spills:-0}" >>"$RESULTS"
}

skipped() {
  echo "skipped: $1"
  printf '{"skipped":"%s"}\n' "$1" >>"$RESULTS"
}

# A rehearsal takes the addon that the tests on the emulated device use.
build_addon() {
  local begun=$SECONDS
  [[ -f $WORK/addon.built ]] && return 0
  if [[ $DEVICE == simt ]]; then
    node "$ROOT/native/build.cjs" --simt >"$WORK/addon.log" 2>&1 || { tail -40 "$WORK/addon.log"; return 1; }
    mkdir -p "$program/build/Release"
    cp "$ROOT/build/simt/build/Release/mask_predict.node" "$program/build/Release/"
  else
    configure "$program" "$WORK/addon" "-DCMAKE_JS_INC=$program/include" || return 1
  fi
  node -e 'require(process.argv[1] + "/native/binding.cjs")' "$program" || return 1
  compiled addon "$WORK/addon.log" $((SECONDS - begun))
  touch "$WORK/addon.built"
}

# A rehearsal links the kernels that the addon was linked with.
build_kernels() {
  local begun=$SECONDS options=("-DMASK_PREDICT_ROOT=$program")
  [[ -f $WORK/kernels.built ]] && return 0
  if [[ $DEVICE == simt ]]; then
    build_addon || return 1
    options=("-DMASK_PREDICT_ROOT=$ROOT" "-DMASK_PREDICT_OBJECTS=$ROOT/build/simt")
  fi
  configure "$HERE/kernels" "$WORK/kernels" "${options[@]}" || return 1
  compiled kernels "$WORK/kernels.log" $((SECONDS - begun))
  touch "$WORK/kernels.built"
}

# NVIDIA's library for `deterministic: false` is where the system has it; in a rehearsal a stand-in.
library() {
  [[ $DEVICE == simt ]] || return 0
  export MASK_PREDICT_CUBLASLT=$WORK/libcublasLt-stand-in.so
  [[ $MASK_PREDICT_CUBLASLT -nt $ROOT/test/simt/cublaslt_stand_in.cpp ]] ||
    "${CXX:-g++}" -std=c++20 -O2 -shared -fPIC -DMASK_PREDICT_SIMT -I "$ROOT/native" \
      "$ROOT/test/simt/cublaslt_stand_in.cpp" -o "$MASK_PREDICT_CUBLASLT"
}

# In a rehearsal one file of each group, a quick one: npm test runs all of them on the emulated device.
run_tests() {  # group, options
  local only=()
  build_addon || return 1
  export MASK_PREDICT_DEVICE=$DEVICE
  [[ $DEVICE == cuda ]] || only=(--first 1)
  node "$HERE/run-tests.mjs" "${only[@]}" "${@:2}" "$program" "$1"
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

# All kernels in bfloat16, the engine with its graphs, and the operations' tests. env runs a command as it is.
sanitizer() {
  local code=0
  if [[ $DEVICE == simt ]]; then
    skipped "compute-sanitizer, which needs a GPU; its programs run without it"
    under=env
  elif command -v compute-sanitizer >/dev/null; then
    under="compute-sanitizer --tool $1 --error-exitcode 9 --print-limit 20 --target-processes all"
  else
    echo "there is no compute-sanitizer"
    return 1
  fi
  build_kernels || return 1
  build_addon || return 1
  sanitized kernels "$WORK/kernels/kernels" linear attention head remask || code=1
  sanitized jobs node "$HERE/jobs.mjs" "$program" base || code=1
  run_tests ops --jobs 6 --limit 300 --under "$under" || code=1
  return "$code"
}

kernels() { build_kernels && library && "$WORK/kernels/kernels" "$@" "${tiny[@]}" | tee -a "$RESULTS"; }
script() { build_addon && library && node "$HERE/$1.mjs" "$program" "${@:2}" "${tiny[@]}"; }  # these append to $RESULTS themselves

# What ours is compared with may be missing without harm to that.
peer() {  # program, what it needs besides PyTorch, arguments
  local reason=''
  if ! command -v python3 >/dev/null; then
    skipped "peers/$1.py, since there is no python3"
  elif ! reason=$(python3 -c "import torch${2:+, $2}" 2>&1); then
    echo "${reason##*$'\n'}"
    python3 -c 'import ast, sys
for name in sys.argv[1:]: ast.parse(open(name, encoding="utf-8").read(), name)' "$HERE"/peers/*.py || return 1
    skipped "peers/$1.py, since python3 has no PyTorch${2:+ with $2}; its syntax is right"
  else
    [[ $DEVICE == cuda ]] || skipped "PyTorch on CUDA, which needs a GPU; peers/$1.py runs on the CPU"
    python3 "$HERE/peers/$1.py" "${@:3}" "${tiny[@]}"
  fi
}

peer_kernels() { peer kernels '' "$1"; }

# Ours first; one of them may fail without harm to the other.
both() {  # two commands, each in one word
  local code=0
  $1 || code=1
  $2 || code=1
  return "$code"
}

case $1 in
  build)
    if [[ -f $WORK/carried ]]; then echo '{"built":"from the bundle","seconds":0}' | tee -a "$RESULTS"; fi
    both build_addon build_kernels
    ;;
  tests-synchronous) MASK_PREDICT_CUDA_SYNCHRONOUS=1 run_tests ops --limit 280 ;;
  tests-dependent) run_tests ops --limit 200 ;;
  tests-graphs) run_tests graphs --limit 280 ;;
  tests-engine) run_tests engine --limit 300 ;;
  tests-api) run_tests api --limit 280 ;;
  sanitizer-*) sanitizer "${1#sanitizer-}" ;;
  measure | bench-linear | bench-attention | bench-head | bench-remask)
    part=${1#bench-}
    both "kernels $part" "peer_kernels $part"
    ;;
  jobs-*) both "script jobs ${1#jobs-}" "peer huggingface transformers ${1#jobs-}" ;;
  bits) both "kernels bits" "script bits" ;;
  thresholds) both "kernels thresholds" "script thresholds" ;;
  bench-variants) script jobs --variants xl base ;;
  *) echo "there is no stage '$1'"; exit 2 ;;
esac
