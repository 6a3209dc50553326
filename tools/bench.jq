# What tools/bench-plot and tools/bench-docs ask build/bench.json, and how they write numbers.
# jq -L tools 'include "bench"; ...'

# The row of a scenario: with an idle neighbour if there is one, else with a busy one.
def row($section; $scenario; $candidate):
	[.[$section].rows[]? | select(.scenario == $scenario and .candidate == $candidate)]
	| (map(select(.neighbour == "idle")) + .)[0];
def row($section; $scenario; $candidate; $neighbour):
	first(.[$section].rows[]? | select(.scenario == $scenario and .candidate == $candidate
		and .neighbour == $neighbour)) // null;

# The points of an axis: those measured with an idle neighbour if that are all, else those with a
# busy one. Never both.
def points($axis):
	[.sweep.rows[] | select(.axis == $axis and .verified)]
	| map(select(.neighbour == "idle")) as $idle | map(select(.neighbour == "busy")) as $busy
	| if ($idle | length) >= ($busy | length) then $idle else $busy end;

# Nanoseconds: one decimal below 10, none above; "-" if there is no figure.
def ns: if . == null then "-" elif . < 10 then . * 10 | round / 10 | tostring
	else round | tostring end;
def p10: if . == null or (.verified | not) then null else .net_ns_p10 end;
def times: if . == null then "-" else . * 10 | round / 10 | tostring + "x" end;

# 12345 -> "12 300": three digits that count.
def thousands: tostring | if length > 3 then (.[:-3] | thousands) + " " + .[-3:] else . end;
def rounded: if . < 1000 then round else
	(pow(10; ((log10 | floor) - 2))) as $unit | ((. / $unit) | round) * $unit | round end;
def big: if . == null then "-" else rounded | thousands end;

def line: "| " + join(" | ") + " |";
def rule: "|" + (map("---|") | join(""));

# The stage of a packet that a source file belongs to (ARCHITECTURE.md, "The life of a packet").
def stage: {
	"parse.h": "parse", "rare.h": "parse", "packet.h": "parse",
	"service.h": "VIP and service",
	"admit.h": "admission",
	"lb_hash.h": "hash",
	"select.h": "backend", "slot.h": "backend", "open.h": "backend",
	"flow.h": "flow table",
	"forward.h": "outer header", "csum.h": "outer header",
	"count.h": "counters",
	"straight.h": "straight path",
	"filter.h": "other", "limit.h": "other", "path.h": "other", "scratch.h": "other",
	"lb.h": "other", "lb_abi.h": "other", "bench.bpf.c": "other"
	}[.] // sub("\\.(h|bpf\\.c)$"; "");
def stages: ["parse", "VIP and service", "admission", "hash", "backend", "flow table",
	"outer header", "counters"];

# {"stage": {instructions, loads, map_lines}} of a row of the section count.
def by_stage: reduce .files[] as $file ({}; ($file.file | stage) as $name
	| .[$name].instructions += $file.instructions
	| .[$name].loads += $file.loads
	| .[$name].map_lines += $file.map_lines);
