#!/bin/bash
# Install what the tests need, build with sanitizers, run everything, count.
# ./test.sh [unit|sim|netns|interop|fuzz|tsan|style]...   default: all of them
# Ends with "N passed, N failed, N skipped"; exit 1 if something failed.
set -u
cd "$(dirname "$0")" || exit 1
parts=${*:-style unit sim fuzz netns interop tsan}
passed=0 failed=0 skipped=0
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
jobs=$(nproc)

note() { printf '\n== %s\n' "$*"; }
one() { # one RESULT NAME: count a single check
    case $1 in
    0) passed=$((passed + 1)); echo "ok      $2" ;;
    77) skipped=$((skipped + 1)); echo "skipped $2" ;;
    *) failed=$((failed + 1)); echo "FAILED  $2" ;;
    esac
    [ "$1" -eq 0 ] || [ "$1" -eq 77 ]
}
builds() { # builds DIR CC ARGS...: configure once, build; ends the run if it fails
    local dir=$1 cc=$2
    shift 2
    if [ ! -f "$dir/build.ninja" ]; then
        CC=$cc meson setup "$dir" "$@" >"$dir.log" 2>&1 || { tail -n 30 "$dir.log"; return 1; }
    fi
    ninja -C "$dir" >"$dir.log" 2>&1 || { grep -E 'error|warning|FAILED' "$dir.log" | head -n 40; return 1; }
}
tally() { # tally FILE: add a last line "N passed, N failed, N skipped"
    local line
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$1" | tail -n 1)
    if [ -z "$line" ]; then
        failed=$((failed + 1))
        echo "FAILED  no result in $1"
        return
    fi
    read -r p _ f _ s _ <<<"${line//,/}"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}
suite() { # suite DIR NAME MULTIPLIER: run one suite of meson tests
    local log=$1/meson-logs/testlog-$2.txt
    meson test -C "$1" --suite "$2" --logbase "testlog-$2" --no-rebuild --print-errorlogs \
        --num-processes "$jobs" --timeout-multiplier "$3" 2>&1 | grep -vE '^(ninja|Full log)' || true
    local json=$1/meson-logs/testlog-$2.json
    for what in OK FAIL TIMEOUT ERROR SKIP UNEXPECTEDPASS; do
        local n
        n=$(grep -c "\"result\": \"$what\"" "$json" 2>/dev/null || true)
        case $what in
        OK) passed=$((passed + n)) ;;
        SKIP) skipped=$((skipped + n)) ;;
        *) failed=$((failed + n)) ;;
        esac
    done
    [ -f "$json" ] || { failed=$((failed + 1)); echo "FAILED  suite $2 did not run ($log)"; }
}

threads() { # the parts with threads under the thread sanitizer, built without the rest
    local dir=build-tsan reports fixed="" name t
    local -a programs
    if [ ! -f $dir/build.ninja ]; then
        CC=gcc meson setup $dir -Db_sanitize=thread -Db_lundef=false >$dir.log 2>&1 || { one 1 "configure $dir"; return; }
    fi
    mapfile -t programs < <(ninja -C $dir -t targets all | grep -oE '^test/unit/((os|controller|daemon)/test_\w+|datapath/test_(published|replay|table)):' | tr -d :)
    ninja -C $dir src/panlan "${programs[@]}" >$dir.log 2>&1
    one $? "builds with the thread sanitizer" || return
    # Its gcc 12 runtime cannot live with the address space of newer kernels.
    setarch "$(uname -m)" -R true 2>/dev/null && fixed="setarch $(uname -m) -R"
    if ! $fixed $dir/src/panlan --version >/dev/null 2>&1; then
        echo "skipped: the thread sanitizer does not run on this kernel"
        skipped=$((skipped + 1))
        return
    fi
    reports=$(mktemp -d)
    for t in "${programs[@]}"; do
        name=${t##*/}
        TSAN_OPTIONS=log_path=$reports/$name $fixed timeout 120 "$dir/$t" >"$reports/out" 2>&1
        one $? "$name with thread sanitizer" || tail -n 20 "$reports/out"
    done
    TSAN_OPTIONS=log_path=$reports/netns PANLAN=$PWD/$dir/src/panlan $fixed \
        python3 test/netns/run.py hostile:many_clients invite:join_by_invitation \
        workers:leave_and_join workers:configuration_changes tcprelay:both_without_udp 2>&1 | tee $dir/netns.log
    tally $dir/netns.log
    rm -f "$reports/out"
    cat "$reports"/* 2>/dev/null | head -n 100
    [ -z "$(ls "$reports")" ]
    one $? "no report of the thread sanitizer"
    rm -rf "$reports"
}

tools/install-packages test || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
san=build-san
note "build with address and undefined behaviour sanitizers (gcc)"
if ! builds $san gcc -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized; then
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
rm -f "$san"/*.log build-tsan/netns.log
export PANLAN=$PWD/$san/src/panlan

for part in $parts; do
    note "$part"
    case $part in
    style)
        tools/check-includes; one $? "include order and file sizes"
        tools/timers --check; one $? "every timer of VL1 is listed with its purpose"
        tools/check-format; one $? "format of C files"
        builds build-clang clang-14 -Dwerror=true -Dfuzz=true; one $? "builds with clang 14 without warnings"
        ;;
    unit) suite $san unit 4 ;;
    sim)
        builds build-rel gcc -Dwerror=true -Dbuildtype=release; one $? "release build without warnings"
        suite build-rel sim 4
        ;;
    fuzz)
        suite $san fuzz 4
        builds build-clang clang-14 -Dwerror=true -Dfuzz=true >/dev/null
        for target in build-clang/test/fuzz/fuzz_*; do
            [ -x "$target" ] && [ -f "$target" ] || continue
            name=$(basename "$target")
            scratch=$(mktemp -d)
            "$target" -max_total_time=3 -rss_limit_mb=2048 -artifact_prefix="$scratch/" "$scratch" \
                "test/fuzz/corpus/${name#fuzz_}" >"$scratch/log" 2>&1
            code=$?
            [ $code -eq 0 ] || tail -n 20 "$scratch/log"
            one $code "$name, 3 s"
            rm -rf "$scratch"
        done
        ;;
    netns | interop)
        modules=$(cd test/netns && ls ./*.py | sed 's|^\./||; s|\.py$||' | grep -vE '^(net|run|timing|machine|scripts)$')
        if [ "$part" = interop ]; then
            modules=$(printf '%s\n' "$modules" | grep '^interop')
        else
            modules=$(printf '%s\n' "$modules" | grep -v '^interop')
        fi
        # shellcheck disable=SC2086
        python3 test/netns/run.py $modules 2>&1 | tee "$san/$part.log"
        tally "$san/$part.log"
        ;;
    tsan) threads ;;
    *)
        echo "unknown part: $part (unit sim netns interop fuzz tsan style)"
        failed=$((failed + 1))
        ;;
    esac
done
cat "$san"/*.log build-tsan/netns.log 2>/dev/null | grep '^unstable: '
printf '\n%d passed, %d failed, %d skipped\n' $passed $failed $skipped
[ $failed -eq 0 ]
