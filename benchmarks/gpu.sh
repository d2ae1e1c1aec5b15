#!/usr/bin/env bash
# One large GPU ──► what v2l does on it, in under eight minutes. Without a GPU it says so and exits with 0.
#
#     bash benchmarks/gpu.sh            # on a GPU; add the lines to benchmarks/RESULTS.md
#     bash benchmarks/gpu.sh --toy      # the same logic at toy sizes, on whatever there is; the figures mean nothing
#
# Every part has its own time limit. A part that fails or lacks something is named and skipped.
set -u
cd "$(dirname "$0")/.." || exit 1
PYTHON=${PYTHON:-.venv/bin/python}
[ -x "$PYTHON" ] || PYTHON=python3
TOY=${1:-}
export PYTHONPATH="benchmarks:benchmarks/gpu:tests" HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=passive

if ! "$PYTHON" -c 'import torch' 2>/dev/null; then
    echo "no GPU benchmark: torch is not installed for $PYTHON"
    exit 0
fi
if [ "$TOY" != "--toy" ] && ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "no GPU: torch sees no CUDA device here, nothing was measured (--toy runs the logic at toy sizes)"
    exit 0
fi

"$PYTHON" - <<'PY'
import torch
name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, toy sizes: the figures mean nothing"
print(f"## {name}, torch {torch.__version__}")
PY

ERRORS=$(mktemp)
trap 'rm -f "$ERRORS"' EXIT

part() { # seconds, what, command…
    local seconds=$1 what=$2
    [ "$TOY" = "--toy" ] && seconds=$((seconds * 10)) # a slow machine, and nothing is measured
    shift 2
    echo "== $what"
    timeout "$seconds" "$@" 2>"$ERRORS"
    local code=$?
    if [ $code -ne 0 ]; then
        echo "   skipped ($([ $code -eq 124 ] && echo "longer than $seconds s" || tail -n 1 "$ERRORS"))"
    fi
}

# 450 seconds together, at most
part 50 "the same on CPU and GPU" "$PYTHON" benchmarks/gpu/equality.py $TOY
for mode in float32 tf32 bf16 compiled; do
    part 55 "training step, paper sizes, $mode" "$PYTHON" benchmarks/gpu/training.py --mode "$mode" $TOY
done
part 30 "quantizer" "$PYTHON" benchmarks/gpu/quantization.py $TOY
part 90 "a LLaMA of 7 B, random weights" "$PYTHON" benchmarks/gpu/language.py $TOY
part 60 "tokenizing, ViT-L/14, random weights" "$PYTHON" benchmarks/gpu/images.py $TOY
exit 0
