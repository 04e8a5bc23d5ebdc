#!/usr/bin/env bash
# lmnet tokenize: JSON lines in and out, special tokens only when asked for, errors with file and line.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"

# says EXPECTED ARGS…: what comes out for standard input.
says() {
  local expected=$1 output
  shift
  output=$("$lmnet" tokenize "$@")
  [ "$output" = "$expected" ] || fail "tokenize $*: $output instead of $expected"
}

# refused TEXT INPUT ARGS…: code 3 (or what `wanted` says) and one sentence that has TEXT.
refused() {
  local text=$1 code=0
  printf '%b' "$2" >lines.jsonl
  shift 2
  "$lmnet" tokenize "$@" >out.txt 2>&1 || code=$?
  [ "$code" = "${wanted:-3}" ] || fail "tokenize $*: ended with $code: $(cat out.txt)"
  grep -qF -- "$text" out.txt || fail "tokenize $*: says nothing of \"$text\": $(cat out.txt)"
}

printf '{"text": "h\\u00e9\\n"}\n\n{"ids": [104, 256, 105]}\n' | says '{"text":"hé\n","ids":[104,195,169,10]}
{"text":"hi","ids":[104,256,105]}' bytes
printf '{"text": "no", "ids": [104, 195]}\n' | says '{"text":"h�","ids":[104,195]}' bytes --decode

refused 'lines.jsonl:2' '{"text": "a"}\n{"text": 3}\n' bytes lines.jsonl
refused 'lines.jsonl:1' '{"text": "a"\n' bytes lines.jsonl
refused 'lines.jsonl:1' '{"ids": [258]}\n' bytes lines.jsonl
refused 'lines.jsonl:1' '{"text": "a"}\n' bytes lines.jsonl --decode
refused 'lines.jsonl:1' '{"text": "\\ud800"}\n' bytes lines.jsonl
refused 'no-such.jsonl' '' bytes no-such.jsonl
wanted=2 refused 'no-such-folder' '' no-such-folder lines.jsonl
if "$lmnet" tokenize >out.txt 2>&1; then fail "tokenize without a tokenizer is taken"; fi

data=$samples/tokenizers
for folder in "$data"/*/; do
  [ -e "$folder/vectors_dev.jsonl" ] || continue
  "$lmnet" tokenize "$folder" "$folder/vectors_dev.jsonl" >encoded.jsonl
  "$lmnet" tokenize "$folder" encoded.jsonl --decode >decoded.jsonl
  python3 - "$folder/vectors_dev.jsonl" encoded.jsonl decoded.jsonl <<'PYTHON' || fail "$folder: other tokens or texts"
import json, sys, unicodedata
wanted, encoded, decoded = ([json.loads(line) for line in open(name, encoding="utf-8")] for name in sys.argv[1:])
assert [row["ids"] for row in wanted] == [row["ids"] for row in encoded]
assert [row["text"] for row in wanted] == [row["text"] for row in encoded]
normal = lambda rows: [unicodedata.normalize("NFC", row["text"]) for row in rows]
assert normal(wanted) == normal(decoded)
PYTHON
done
if [ -e "$data/qwen2.5" ]; then
  line='{"text": "<|im_start|>user"}'
  says '{"text":"<|im_start|>user","ids":[151644,872]}' "$data/qwen2.5" --special <<<"$line"
  says '{"text":"<|im_start|>user","ids":[27,91,318,4906,91,29,872]}' "$data/qwen2.5" <<<"$line"
  says '{"text":"user","ids":[151644,872]}' "$data/qwen2.5" <<<'{"ids": [151644, 872]}'
  says '{"text":"<|im_start|>user","ids":[151644,872]}' "$data/qwen2.5" --special <<<'{"ids": [151644, 872]}'
fi
echo "ok: tokenize"
