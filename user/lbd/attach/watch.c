/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Watches whether what the program sends arrives: each second it counts lost frames, asks what the
 * devices can do now, and changes to generic mode where native mode loses everything. */
#include "facts.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/plural.h"

#define RECENT_MS      60000
#define STUCK_MS       60000 /* then a fall-back that failed is tried again */
#define SILENT_SECONDS 3
/* Checksums are looked at for so long, or until so many packets had whole ones; then comes a
 * pause. */
#define SAMPLE_MS      10000
#define SAMPLE_PACKETS 100
#define SAMPLE_PAUSE   20000

/* ---- lost frames ---- */

static void note_lost(struct attachment *there, uint64_t frames, const char *why)
{
	uint64_t now = clock_monotonic_ms();

	if (!there->lost_ms || now - there->lost_ms > RECENT_MS)
		log_warning("%s: frames that lbd sent were lost: %s (lbctl status counts them; "
			    "logged once until a minute passes without)",
			    there->name, why);
	there->lost += frames;
	there->lost_ms = now;
	snprintf(there->lost_why, sizeof(there->lost_why), "%s", why);
}

static void on_loss(void *arg, uint32_t from, uint32_t to, uint64_t frames, int error)
{
	struct attach *attach = arg;
	struct attachment *there = attach_find(attach, from);
	char name[IF_NAMESIZE], why[96];

	if (!there) /* native mode on a bond: the program runs on its ports */
		there = attach_find(attach, device_master(from));
	if (!there)
		return;
	if (!if_indextoname(to, name))
		snprintf(name, sizeof(name), "if%u", to);
	snprintf(why, sizeof(why), "to %s: %s", name,
		 error ? strerror(-error) : "its driver did not send them");
	note_lost(there, frames, why);
	if (error == -EOPNOTSUPP)
		egress_refused(attach, to);
}

/* The frames that a veth sent back, since the last call. False: it is no veth, or says nothing. */
static bool count_veth(struct attachment *there, const struct facts_interface *said,
		       struct device_counts *ret)
{
	const struct device_counts now = said->counts;

	if (!there->native || !said->counted)
		return false;
	if (now.sent < there->counts.sent || now.lost < there->counts.lost) { /* queues went away */
		there->counts = now;
		return false;
	}
	ret->sent = now.sent - there->counts.sent;
	ret->lost = now.lost - there->counts.lost;
	there->counts = now;
	if (ret->lost)
		note_lost(there, ret->lost, "the other end of the veth did not take them");
	return true;
}

/* ---- checksums ---- */

static void sample_end(const struct attach *attach, struct attachment *there, uint64_t now)
{
	checksums_forget(attach->checksums, there->ifindex);
	there->sampling = false;
	there->sample_ms = now;
}

static void sample_read(const struct attach *attach, struct attachment *there, uint64_t now)
{
	struct lb_checksums seen = {0};

	checksums_read(attach->checksums, there->ifindex, &seen);
	if (seen.unfinished)
		there->unfinished_ms = now;
	if (seen.unfinished || seen.whole >= SAMPLE_PACKETS || now - there->sample_ms > SAMPLE_MS)
		sample_end(attach, there, now);
}

/* Has a packet on this veth had an unfinished checksum lately? */
static bool sees_unfinished(const struct attach *attach, struct attachment *there)
{
	uint64_t now = clock_monotonic_ms();

	if (!attach->checksums || !there->veth)
		return false;
	if (there->sampling) {
		sample_read(attach, there, now);
	} else if (!there->sample_ms || now - there->sample_ms > SAMPLE_PAUSE) {
		there->sampling = !checksums_watch(attach->checksums, there->ifindex);
		there->sample_ms = now;
	}
	return there->unfinished_ms && now - there->unfinished_ms < RECENT_MS;
}

/* ---- falling back ---- */

/* A dispatcher that holds other programs cannot change its mode. */
static bool may_fall_back(const struct attach *attach, const struct attachment *there)
{
	struct occupant occupant;

	if (!there->automatic ||
	    (there->stuck_ms && clock_monotonic_ms() - there->stuck_ms < STUCK_MS))
		return false;
	return !there->dispatcher ||
	       (!attach_look(attach->dp, there->ifindex, &occupant) && occupant.programs == 1);
}

/* Does its other end take nothing at all? One second is enough where the kernel does not say what
 * devices take; where it says that this one does, a host that gets no CPU may look like that. */
static bool takes_nothing(const struct attach *attach, struct attachment *there,
			  const struct facts_interface *said)
{
	struct device_counts since;

	if (!count_veth(there, said, &since) || !since.lost || since.sent)
		there->silent_s = 0;
	else
		there->silent_s++;
	return there->silent_s >= (attach->netdev ? SILENT_SECONDS : 1);
}

/* Is it certain that packets do not arrive? Sets not_native. */
static bool loses_packets(const struct attach *attach, struct attachment *there,
			  const struct facts_interface *said)
{
	bool nothing = takes_nothing(attach, there, said),
	     unfinished = sees_unfinished(attach, there);

	memcpy(there->not_native, said->not_native, sizeof(there->not_native));
	if (!said->suits)
		return true;
	there->not_native[0] = 0;
	if (nothing)
		snprintf(there->not_native, sizeof(there->not_native),
			 "its other end took no frame: on the other end: "
			 "ethtool -K PEER gro on tx off");
	else if (unfinished)
		snprintf(there->not_native, sizeof(there->not_native),
			 "packets come in with unfinished checksums, which native mode forwards as "
			 "they are: where they are sent: ethtool -K DEVICE tx off");
	return nothing || unfinished;
}

static void complain(struct attachment *there)
{
	if (!there->complained)
		log_warning("%s: native mode loses packets: %s", there->name, there->not_native);
	there->complained = true;
}

/* That of a veth is a fault of its own: nothing is sent back there either. */
static void check_redirects(const struct attach *attach, struct attachment *there,
			    const struct facts_interface *said)
{
	memcpy(there->no_redirects, said->takes_none, sizeof(there->no_redirects));
	if (attach->count < 2 || there->veth || said->takes != DEVICE_TAKES_NONE)
		there->no_redirects[0] = 0;
}

/* True: the list has changed. If it cannot be detached, all is as before. */
static bool fall_back(struct attach *attach, struct attachment *there)
{
	const uint32_t ifindex = there->ifindex;
	char why[ATTACH_WHY];
	struct error err;

	memcpy(why, there->not_native, sizeof(why));
	if (!attach_fall_back(attach, there->name, why, &err))
		return true;
	log_error("%s", err.text);
	there = attach_find(attach, ifindex);
	if (!there || !there->native)
		return true;
	there->stuck_ms = clock_monotonic_ms();
	return false;
}

/* False: the list has changed. */
static bool check_mode(struct attach *attach, struct attachment *there,
		       const struct facts_interface *said)
{
	if (!there->native || !said->native || !said->runs)
		return true;
	if (!loses_packets(attach, there, said)) {
		there->complained = false;
		return true;
	}
	if (!may_fall_back(attach, there)) {
		complain(there);
		return true;
	}
	return !fall_back(attach, there);
}

/* When one falls back, the rest waits for the next second; and so does one that was attached
 * meanwhile. */
static void check_interfaces(struct attach *attach, const struct facts *facts)
{
	for (unsigned i = 0; i < attach->count; i++) {
		struct attachment *there = &attach->list[i];
		const struct facts_interface *said = facts_of(facts, there->ifindex);

		if (!said)
			continue;
		check_redirects(attach, there, said);
		if (!check_mode(attach, there, said))
			return;
	}
}

/* Keeps what status shows of them. The hints change hands. */
static void take_hints(struct attach *attach, struct facts *facts)
{
	for (unsigned i = 0; i < attach->count; i++) {
		struct attachment *there = &attach->list[i];
		struct facts_interface *said = facts_of(facts, there->ifindex);
		struct sentences *before = there->hints;

		if (!said || said->native != there->native)
			continue;
		there->hints = said->hints;
		said->hints = before;
		there->has_peer = said->has_peer;
	}
}

void watch_look(struct attach *attach, uint32_t ifindex)
{
	struct facts facts;

	if (facts_ask(attach, ifindex, &facts))
		return;
	take_hints(attach, &facts);
	facts_done(&facts);
}

void attach_check(struct attach *attach)
{
	struct facts facts;

	if (facts_ask(attach, 0, &facts))
		return;
	take_hints(attach, &facts);
	attach_check_programs(attach, &facts);
	if (attach->losses)
		losses_read(attach->losses, on_loss, attach);
	check_interfaces(attach, &facts);
	if (egress_take(attach, &facts) && attach->changed)
		attach->changed(attach->changed_arg);
	facts_done(&facts);
}

/* ---- for status ---- */

struct warnings {
	void (*fn)(void *arg, const char *sentence);
	void *arg;
};

__attribute__((format(printf, 2, 3))) static void warn(const struct warnings *to,
						       const char *format, ...)
{
	char sentence[512];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	to->fn(to->arg, sentence);
}

/* Packets from one attached interface to another. Those to devices without the program make a
 * backend unreachable, which `lbctl backends` shows. */
static void warn_of_redirects(const struct attach *attach, const struct attachment *from,
			      const struct warnings *to)
{
	for (unsigned i = 0; from->native && i < attach->count; i++) {
		const struct attachment *other = &attach->list[i];

		if (other->ifindex != from->ifindex && other->no_redirects[0])
			warn(to, "packets that come in on %s for backends behind %s are lost: %s",
			     from->name, other->name, other->no_redirects);
	}
}

void attach_warnings(struct attach *attach, const struct attachment *there,
		     void (*fn)(void *arg, const char *sentence), void *arg)
{
	const struct warnings to = {fn, arg};
	uint64_t now = clock_monotonic_ms();
	char ago[DURATION_TEXT];

	for (unsigned i = 0; there->hints && i < there->hints->count; i++)
		fn(arg, there->hints->list[i]);
	if (there->not_native[0])
		warn(&to, "%s: %s",
		     there->native ? "native mode loses packets" : "native mode is not used",
		     there->not_native);
	else if (there->native && !attach->checksums && there->veth && !there->has_peer)
		warn(&to,
		     "%s is a veth in native mode: packets whose checksums its other end leaves "
		     "unfinished are lost; on the other end: ethtool -K PEER tx off",
		     there->name);
	warn_of_redirects(attach, there, &to);
	if (there->lost_ms && now - there->lost_ms < RECENT_MS)
		warn(&to, "%" PRIu64 " frame%s that lbd sent %s lost, the last %s ago: %s",
		     there->lost, plural_s(there->lost), plural(there->lost, "was", "were"),
		     duration_about(now - there->lost_ms, ago), there->lost_why);
}
