#!/usr/bin/env bash
# bench/gpu/run.sh [--from STAGE] [STAGE...]     all stages, those from STAGE on, or those named
# bench/gpu/run.sh --rehearse [STAGE...]         the same on the emulated device, with tiny shapes: no GPU
# bench/gpu/run.sh --list                        the stages in their order, the seconds each may take, what it tells
#
# Runs stages in the order of stages.txt on a machine with an NVIDIA GPU and CUDA (nvcc, CMake, a C++20 compiler; Python 3
# with PyTorch and transformers for what is compared). Needs no Node.js and no network: they come from the bundle that
# bench/gpu/bundle.sh makes. Started in a checkout, with the bundle in build/gpu-bundle, or in the bundle itself.
#
# Every stage builds what is missing first and has a time limit. One that fails or is cut off does not stop those after it,
# and what was measured before stays. Stages that report fractions of the card's limits have `measure` before them in the
# same run: nothing is assumed about a card.
#
# Results: one folder for each run, OUT/DATE-CARD, with run.json (date, command, card, driver, toolkit, and of each stage
# the outcome and its lines), its tables in table.md, and log.txt. A run that was killed leaves STAGE.jsonl of the stage that it was in, too.
# Exit code: 0, 1 if a stage failed or was not run, 2 if the command was not understood or there is no GPU.
#
# A rehearsal replaces only what needs a GPU, says what, and writes no number that it measured into run.json. It works in
# build/gpu-rehearsal and takes the addon of build/simt (`node native/build.cjs --simt`), which it builds if it is missing.
#
# Environment: OUT (default build/gpu-results), WORK (default build/gpu), BUNDLE, TOTAL (seconds for all stages; those that
# there is no time for are not run; default: no limit), REBUILD=1 (compiles even if the bundle has binaries),
# CUDA_VISIBLE_DEVICES (default 0: every stage is on the same card).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

all=()
declare -A limits=()
while read -r name limit _; do
  [[ $name && $name != \#* ]] || continue
  all+=("$name")
  limits[$name]=$limit
done <"$here/stages.txt"

usage() { sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \?//'; }
known() {
  [[ ${limits[${1:-none}]:-} ]] && return
  { echo "there is no stage '${1:-}'; the stages are:"; printf '  %s\n' "${all[@]}"; } >&2
  exit 2
}

given="$*"
from='' rehearse='' named=()
while (($# > 0)); do
  case $1 in
    --rehearse) rehearse=1 ;;
    --from) known "${2:-}"; from=$2; shift ;;
    --list) grep -v '^#' "$here/stages.txt"; exit ;;
    -h | --help) usage; exit ;;
    -*) echo "there is no option $1" >&2; usage >&2; exit 2 ;;
    *) known "$1"; named+=("$1") ;;
  esac
  shift
done

# The wanted stages in their order, with `measure` before the first that needs it.
wanted=()
begun='' measured=''
[[ $from ]] || begun=1
for stage in "${all[@]}"; do
  [[ $stage == "$from" ]] && begun=1
  if ((${#named[@]} > 0)); then
    [[ " ${named[*]} " == *" $stage "* ]] || continue
  fi
  [[ $begun ]] || continue
  case $stage in
    measure) measured=1 ;;
    bench-* | jobs-* | thresholds)
      [[ $measured ]] || wanted+=(measure)
      measured=1
      ;;
  esac
  wanted+=("$stage")
done

if [[ ! ${BUNDLE:-} ]]; then
  BUNDLE=$root
  [[ -d $root/program ]] || BUNDLE=$root/build/gpu-bundle
fi
if [[ $rehearse ]]; then
  DEVICE=simt WORK=$root/build/gpu-rehearsal OUT=$root/build/gpu-rehearsal/results
  rm -rf "$WORK/program" "$WORK"/*.built "$OUT"
else
  DEVICE=cuda WORK=${WORK:-$root/build/gpu} OUT=${OUT:-$root/build/gpu-results}
  if nvidia-smi -L >/dev/null 2>&1; then
    :
  elif [[ ${wanted[*]} == build ]]; then
    limits[build]=3600 # bundle.sh --built: no GPU waits
  else
    echo "there is no NVIDIA GPU here (nvidia-smi finds none); --rehearse works without" >&2
    exit 2
  fi
  export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
fi
card=$DEVICE
[[ $rehearse ]] ||
  card=$(nvidia-smi -i "${CUDA_VISIBLE_DEVICES%%,*}" --query-gpu=name --format=csv,noheader 2>/dev/null) || card=GPU
mkdir -p "$OUT" "$WORK"
OUT=$(cd "$OUT" && pwd)/$(date -u +%Y%m%dT%H%M%SZ)-${card//[^A-Za-z0-9.]/-}
WORK=$(cd "$WORK" && pwd)
mkdir "$OUT"
export OUT WORK DEVICE BUNDLE HERE=$here ROOT=$root COMMAND="bench/gpu/run.sh${given:+ $given}"
export PATH=$WORK/bin:$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
export PYTHONUNBUFFERED=1
log=$OUT/log.txt
record() { node "$here/record.mjs" "$@" 2>&1 | tee -a "$log" || true; }

echo "results: $OUT" | tee -a "$log"
bash "$here/prepare.sh" 2>&1 | tee -a "$log"
record begin
failed=0
for stage in "${wanted[@]}"; do
  export STAGE=$stage RESULTS=$OUT/$stage.jsonl
  limit=${limits[$stage]}
  if [[ ${TOTAL:-} ]]; then
    left=$((TOTAL - SECONDS))
    if ((left < 20)); then
      record not-run
      failed=1
      continue
    fi
    limit=$((left < limit ? left : limit))
  fi
  : >"$RESULTS"
  begun=$SECONDS
  code=0
  echo "== $stage, $(date -u +%FT%TZ)" | tee -a "$log"
  timeout -k 10 "$limit" bash "$here/stage.sh" "$stage" 2>&1 | tee -a "$log" || code=$?
  record end "$code" $((SECONDS - begun))
  ((code == 0)) || failed=1
done
record summary
node "$here/table.mjs" ${rehearse:+--rehearsal} "$OUT" >"$OUT/table.md" || failed=1
exit "$failed"
