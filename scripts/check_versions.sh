#!/usr/bin/env bash
# The quick half of the tests on other versions of Python, numpy and huggingface_hub, and under `python -O`.
# Run it in the environment of the tests: those of huggingface_hub borrow its judges.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The quick half needs no framework, no browser, and no corpus.
quick=(
  tests/test_{atomic_write,bpe,byte_alphabet,generation,model,tokenizer,vocabulary}.py
  tests/vectorized/test_{steps,tables}.py
  tests/weights/test_{checkpoint,damage,from_pretrained,gpt2_layout}.py
  tests/weights/remote
  tests/cli/test_{cli,model_commands,weight_commands}.py
  tests/explain/test_serve.py
)

# Print the path of this version of Python, if there is one that runs: on the PATH, or among pyenv's.
find_python() {
  local candidate
  for candidate in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if "$candidate" --version >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
}

# Usage: with_python VERSION [PACKAGE...]
with_python() {
  local python environment
  python=$(find_python "$1")
  if [ -z "$python" ]; then
    echo "== Python $1 is not installed: left out"
    return
  fi
  environment=$(mktemp -d "$work/XXXX")
  "$python" -m venv "$environment"
  "$environment/bin/pip" install -q -e . pytest pytest-xdist hypothesis regex "${@:2}"
  echo "== Python $*"
  "$environment/bin/python" -m pytest -q "${quick[@]}"
}

# Usage: with_hub "TEST..." PACKAGE...
with_hub() {
  local environment site='import site; print(site.getsitepackages()[0])'
  environment=$(mktemp -d "$work/XXXX")
  python -m venv "$environment"
  "$environment/bin/pip" install -q "${@:2}"
  # Packages that the new environment lacks are imported from this one.
  echo "import site; site.addsitedir('$(python -c "$site")')" >"$("$environment/bin/python" -c "$site")/judges.pth"
  echo "== ${*:2}"
  # shellcheck disable=SC2086
  "$environment/bin/python" -m pytest -q $1
}

with_python 3.12
with_python 3.13
with_python 3.11 "numpy==1.26.*"
echo "== python -O"
python -O -m pytest -q -W ignore::pytest.PytestConfigWarning "${quick[@]}"
with_hub "tests/hub tests/weights tests/cli/test_download.py tests/corpus/test_hub_files.py \
  tests/parity/test_saved_tokenizers.py" huggingface_hub==0.34.0 transformers==4.57.1
# pip adds the newest huggingface_hub before 1.0, which repeats failed requests by itself.
with_hub "tests/hub tests/weights/remote" transformers==4.57.1
with_hub "tests/hub tests/weights/remote" huggingface_hub==1.0.1
with_hub "tests/hub tests/corpus/test_hub_files.py" "huggingface_hub<2" transformers==5.0.0
