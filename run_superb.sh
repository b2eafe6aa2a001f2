#!/usr/bin/env bash
# The SUPERB benchmark for fused upstreams, from a fresh machine to a table of scores:
#   ./run_superb.sh --demo
#   ./run_superb.sh -u fused_wavlm_hubert -t asr,er --librispeech DIR --iemocap DIR -o exp
# Options: ./run_superb.sh -h
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$("$here/tools/python")
exec "$python" -m s3prl_fusion superb "$@"
