# SPDX-License-Identifier: GPL-2.0
#
# Shortens the output of go test -v: a line for each test, with the reason for
# a skip and the whole output of a failure, and a closing line with the counts.
# A package that fails without a failed test (it does not compile, or its
# binary dies) counts as a failure.

function forget() { output = "" }

/^=== (RUN|NAME|CONT) / { current = $3; if ($2 == "RUN" && current !~ /\//) forget() }
{ output = output "    " $0 "\n" }
/^ +[^ ]+\.go:[0-9]+: / { said = $0; sub(/^ +[^ ]+\.go:[0-9]+: /, "", said); reason[current] = said }

/^ *--- SKIP: / { printf "skip  %s: %s\n", $3, reason[$3] }
/^--- PASS: / { passed++; forget() }
/^--- SKIP: / { skipped++; forget() }
/^--- FAIL: / { failed++; infailed++; held = held output; forget() }

/^ok / { printf "ok    %s %s\n", $2, $3; infailed = 0; held = ""; forget() }
/^FAIL\t/ {
	if (!infailed) failed++
	printf "FAIL  %s %s\n%s%s", $2, $3, held, output
	infailed = 0; held = ""; forget()
}
END {
	printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
	exit failed > 0
}
