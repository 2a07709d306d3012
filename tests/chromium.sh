#!/usr/bin/env bash
# Opens pages in headless Chromium, in light, dark and phone width, and keeps a picture of each.
#
#     tests/chromium.sh OUT PAGE.html [PAGE.html ...]     pages as they are
#     tests/chromium.sh OUT                               an access export of generated records, or of CORPUS (.jsonl.zst)
#
# PROGRAM (target/debug/tenure) makes the export. Without Chromium, and where Debian's package cannot be installed, it says
# so and ends with 77. It fails where a page asks for anything, runs anything, or cannot be drawn.
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${1:?where to put the pictures}
shift
PROGRAM=${PROGRAM:-target/debug/tenure}
mkdir -p "$OUT"

find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
if ! find_chromium >/dev/null; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) \
        >/dev/null 2>&1 || true
fi
CHROMIUM=$(find_chromium) || { echo "skipped: there is no Chromium, and it could not be installed"; exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ $# -eq 0 ]; then
    if [ -n "${CORPUS:-}" ]; then zstd -dcq "$CORPUS" >"$scratch/lines"; else "$PROGRAM" generate --records 3000 "$scratch/lines" 2>/dev/null; fi
    # The one who called most, and what nobody should write.
    customer=$(grep -o '"customer":"[^"]*"' "$scratch/lines" | sort | uniq -c | sort -rn | sed -n 1p | cut -d'"' -f4)
    cat >>"$scratch/lines" <<LINES
{"customer":"$customer","class":"chat","jurisdiction":"UK","at":"2026-03-01T09:00:00Z","body":"<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"}
{"customer":"$customer","class":"email","jurisdiction":"UK","at":"2026-03-02T09:00:00Z","body":"A line\u0007 with controls \u202e and no end: $(printf 'x%.0s' $(seq 2000))"}
{"customer":"$customer","class":"recording","jurisdiction":"EU","at":"2026-03-03T09:00:00Z","body_base64":"//4AAQI="}
{"customer":"$customer","class":"profile","jurisdiction":"EU","at":"2026-03-04T09:00:00Z","body":{"name":"Chiara Rossi","address":{"street":"75 Garden Row","city":"Hamburg"},"consents":["e-mail","post"]},"id":"00000000-0000-4000-8000-000000000001"}
LINES
    cat >"$scratch/policy.toml" <<POLICY
[[rule]]
class = "call-transcript"
jurisdiction = "EU"
window = "quarter"
keep_at_least = "P6M"
keep_at_most = "P3Y"
basis = "contract with the works council, 2025"
[[rule]]
class = "profile"
jurisdiction = "*"
anchor = "relationship-end"
keep_at_most = "P5Y"
basis = "GDPR art. 6(1)(b)"
latest = true
[[rule]]
class = "*"
jurisdiction = "*"
keep_at_most = "P10Y"
POLICY
    "$PROGRAM" -s "$scratch/calls" init --policy "$scratch/policy.toml" >/dev/null
    "$PROGRAM" -s "$scratch/calls" ingest "$scratch/lines" --skip-bad "$scratch/aside" >/dev/null 2>&1 || true
    echo '{"name":"Chiara Rossi","address":{"street":"57 Garden Row","city":"Hamburg"},"consents":["post"]}' >"$scratch/right"
    "$PROGRAM" -s "$scratch/calls" rectify "$customer" 00000000-0000-4000-8000-000000000001 --body "$scratch/right" >/dev/null || true
    "$PROGRAM" -s "$scratch/calls" export "$customer" -o "$scratch/out" --recipient "the customer, by post" \
        --actor dpo --purpose "ART15-88"
    set -- "$scratch/out/export.html"
fi

draw() {
    local picture=$1 page=$2 width=$3 height=$4
    shift 4
    # A profile of its own: no service, no network, nothing kept.
    timeout 120 "$CHROMIUM" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$scratch/profile" \
        --host-resolver-rules='MAP * ~NOTFOUND' --enable-logging=stderr --v=0 "$@" \
        --window-size="$width,$height" --screenshot="$picture" "file://$(realpath "$page")" 2>"$scratch/log" || {
        cat "$scratch/log"
        return 1
    }
    [ -s "$picture" ] || { echo "no picture of $page"; return 1; }
    if grep -E 'CONSOLE|Refused to' "$scratch/log"; then
        echo "$page: the browser complained"
        return 1
    fi
}

for page in "$@"; do
    name=$(basename "$page" .html)
    draw "$OUT/$name-light.png" "$page" 1100 1400
    draw "$OUT/$name-dark.png" "$page" 1100 1400 --blink-settings=preferredColorScheme=0
    # Narrower than a headless window may be: in a frame as wide as a phone.
    cat >"$scratch/phone.html" <<PHONE
<!doctype html><style>body{margin:0}iframe{border:0;width:390px;height:1600px}</style><iframe src="file://$(realpath "$page")"></iframe>
PHONE
    draw "$OUT/$name-phone.png" "$scratch/phone.html" 500 1600 --allow-file-access-from-files
    title=$(timeout 120 "$CHROMIUM" --headless --no-sandbox --disable-gpu --user-data-dir="$scratch/profile" \
        --dump-dom "file://$(realpath "$page")" 2>/dev/null | grep -o '<title>[^<]*' | head -1)
    case "$title" in
    *ran*) echo "$page: a script ran"; exit 1 ;;
    "") echo "$page: no title"; exit 1 ;;
    esac
    echo "$page: drawn as $name-{light,dark,phone}.png"
done
