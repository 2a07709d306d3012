#!/usr/bin/env bash
# Opens pages in headless Chromium, in light, dark and phone width, and keeps a picture of each.
#
#     tests/chromium.sh OUT PAGE.html [PAGE.html ...]     pages as they are
#     tests/chromium.sh OUT                               an access export and a report of generated records, or of CORPUS
#                                                         (.jsonl.zst), and both of a store in which everything is hostile
#
# PROGRAM (target/debug/tenure) makes them. Without Chromium, and where Debian's package cannot be installed, it says
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

# A store of everyday records, and what is handed out of it.
everyday() {
    if [ -n "${CORPUS:-}" ]; then zstd -dcq "$CORPUS" >"$scratch/lines"; else "$PROGRAM" generate --records 3000 "$scratch/lines" 2>/dev/null; fi
    # The one who called most.
    customer=$(grep -o '"customer":"[^"]*"' "$scratch/lines" | sort | uniq -c | sort -rn | sed -n 1p | cut -d'"' -f4)
    cat >>"$scratch/lines" <<LINES
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
notice = "P2Y"
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
    "$PROGRAM" -s "$scratch/calls" rectify "$customer" 00000000-0000-4000-8000-000000000001 --body "$scratch/right" >/dev/null
    "$PROGRAM" -s "$scratch/calls" export "$customer" -o "$scratch/out" --recipient "the customer, by post" \
        --actor dpo --purpose "ART15-88"
    "$PROGRAM" -s "$scratch/calls" report -o "$scratch/report.html"
}

# A store in which whatever can be written by anybody tries to run, to load, to break out or to turn the text round; one of
# its segments is damaged, so that the report names its path, which does too.
hostile() {
    local run="<script>document.title='r'+'an'</script>" image="<img src=x onerror=\"document.title='r'+'an'\">"
    local escaped=${image//\"/\\\"} store="$scratch/<img src=x onerror=document.title='ran'>" customer="</title>$run"
    local times=(2026-01-{10..28}T09:00:00Z) number=0
    line() { echo "{\"customer\":\"$customer\",\"class\":\"chat\",\"jurisdiction\":\"UK\",\"at\":\"${times[number++]}\",$1}"; }
    {
        line "\"body\":\"$run$escaped\""
        line "\"body\":{\"$run\":\"</pre>$escaped\",\"turns\":[{\"speaker\":\"customer\",\"text\":\"$run\",\"$run\":\"$escaped\"}]}"
        line "\"body\":[{\"speaker\":\"$run\",\"text\":\"</p></div>$escaped\"},{\"speaker\":\"customer\",\"text\":\"\"}]"
        line "\"body\":\"</style></script></textarea><!-- --!> <style>body{display:none}</style> <base href=//x> <meta http-equiv=refresh content=0>\""
        line "\"body\":\"{{ 7*7 }} {% raw %} {% include 'top' %} &lt;script&gt; &#60;script&#62; \\\\u003cscript>\""
        line "\"body\":\"steering: \\u001b[31m \\u0000 \\u0007 \\u009b31m \\u2028 \\u2029 ends\""
        line "\"body\":\"turned round: abc\\u202edef\\u202d ghi\\u2066jkl\\u2069 \\u0627\\u0644\\u0639\\u0631\\u0628\\u064a\\u0629 \\ufeff mno\""
        line "\"body\":{\"\\u202eeman\":\"\\u202eeulav\",\"\\u0627\\u0633\\u0645\":\"\\u0639\\u0644\\u064a\"}"
        line "\"body\":{\"$(printf 'n%.0s' $(seq 3000))\":\"$(printf 'v%.0s' $(seq 3000))\"}"
        line "\"body\":{\"number\":12345678901234567890123.50,\"twice\":1,\"twice\":2}"
        line "\"body_base64\":\"PHNjcmlwdD7//gA8L3NjcmlwdD4=\""
        line "\"body\":$(printf '[%.0s' $(seq 400))$(printf ']%.0s' $(seq 400))"
        line "\"body\":\"<a href='javascript:document.title=1'>link</a><svg onload=document.title=1><iframe srcdoc='<script>1</script>'><form action=//x><input autofocus onfocus=document.title=1>\""
        printf '{"customer":"%s","class":"chat","jurisdiction":"UK","at":"%s","body":"' "$customer" "${times[number]}"
        head -c 1000000 /dev/zero | tr '\0' 'w'
        echo '"}'
        # The crowd without which a report tells nothing.
        for other in $(seq 60); do
            echo "{\"customer\":\"c-$other\",\"class\":\"chat\",\"jurisdiction\":\"UK\",\"at\":\"2026-01-05T09:00:00Z\",\"body\":\"hello\"}"
        done
    } >"$scratch/hostile"
    printf '[[rule]]\nclass = "*"\njurisdiction = "*"\nbasis = "%s"\n' "${run}'</style>'" >"$scratch/hostile.toml"
    "$PROGRAM" -s "$store" init --policy "$scratch/hostile.toml" >/dev/null
    "$PROGRAM" -s "$store" ingest "$scratch/hostile" 2>/dev/null
    "$PROGRAM" -s "$store" hold place "$customer" --matter "$run" --reason "$image" >/dev/null
    "$PROGRAM" -s "$store" export "$customer" -o "$scratch/hostile-out" --recipient "$image" --actor "$run" --purpose "</dd>$run" >/dev/null
    mv "$scratch/hostile-out/export.html" "$scratch/hostile-export.html"
    printf 'x' | dd of="$(find "$store/segments" -name '*.seg' | head -1)" bs=1 seek=3 conv=notrunc status=none
    "$PROGRAM" -s "$store" report -o "$scratch/hostile-report.html" >/dev/null 2>&1 || true
    grep -q 'damaged' "$scratch/hostile-report.html" || { echo "the report does not tell of the damage"; exit 1; }
}

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

browse() {
    timeout 120 "$CHROMIUM" --headless --no-sandbox --disable-gpu --user-data-dir="$scratch/profile" \
        --dump-dom "file://$(realpath "$1")" 2>/dev/null
}

# A script that does run is noticed: else what follows proves nothing.
echo "<!doctype html><title>quiet</title><img src=x onerror=\"document.title='r'+'an'\">" >"$scratch/running.html"
browse "$scratch/running.html" | grep -q '<title>ran</title>' || { echo "a script that ran was not noticed"; exit 1; }

if [ $# -eq 0 ]; then
    everyday
    hostile
    set -- "$scratch/out/export.html" "$scratch/report.html" "$scratch/hostile-export.html" "$scratch/hostile-report.html"
fi

for page in "$@"; do
    name=$(basename "$page" .html)
    draw "$OUT/$name-light.png" "$page" 1100 1400
    draw "$OUT/$name-dark.png" "$page" 1100 1400 --blink-settings=preferredColorScheme=0
    # Narrower than a headless window may be: in a frame as wide as a phone.
    cat >"$scratch/phone.html" <<PHONE
<!doctype html><style>body{margin:0}iframe{border:0;width:390px;height:1600px}</style><iframe src="file://$(realpath "$page")"></iframe>
PHONE
    draw "$OUT/$name-phone.png" "$scratch/phone.html" 500 1600 --allow-file-access-from-files
    browse "$page" >"$scratch/dom"
    title=$(grep -o '<title>[^<]*' "$scratch/dom" | head -1)
    case "$title" in
    '<title>ran'*) echo "$page: a script ran"; exit 1 ;;
    "") echo "$page: no title"; exit 1 ;;
    esac
    # What the browser has made of the page has nothing in it that could have run or loaded.
    if grep -ioE '<(script|img|iframe|base|form|input|link|object|embed)[ >/]|<[a-z]+[^>]* on[a-z]+=' "$scratch/dom" | head -3 | grep .; then
        echo "$page: something in it is alive"
        exit 1
    fi
    echo "$page: drawn as $name-{light,dark,phone}.png"
done
