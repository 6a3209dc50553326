/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Text from outside made safe for a terminal and for a log. */
#include "printable.h"

#include <stddef.h>
#include <stdint.h>

/* The length of the UTF-8 sequence at text and its character (RFC 3629); 0: not UTF-8. */
static unsigned decode(const unsigned char *text, uint32_t *ret)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least; /* what fewer bytes hold may not be written in so many */
	} forms[] = {
	    {0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	for (unsigned more = 0; more < sizeof(forms) / sizeof(forms[0]); more++) {
		uint32_t character;

		if ((text[0] & forms[more].mask) != forms[more].lead)
			continue;
		character = text[0] & (unsigned char)~forms[more].mask;
		for (unsigned i = 1; i <= more; i++) {
			if ((text[i] & 0xc0) != 0x80) /* so is the end of the text */
				return 0;
			character = character << 6 | (text[i] & 0x3f);
		}
		if (character < forms[more].least || character > 0x10ffff ||
		    (character >= 0xd800 && character <= 0xdfff))
			return 0;
		*ret = character;
		return more + 1;
	}
	return 0;
}

/* Line and paragraph separators, and what changes the direction of text (Unicode UAX 9). */
static bool is_hidden(uint32_t character)
{
	return character == 0x200e || character == 0x200f || character == 0x61c ||
	       (character >= 0x2028 && character <= 0x202e) ||
	       (character >= 0x2066 && character <= 0x2069);
}

static bool is_control(uint32_t character)
{
	return character < 0x20 || (character >= 0x7f && character < 0xa0);
}

void make_printable(char *text, bool keep_lines)
{
	const unsigned char *from = (const unsigned char *)text;
	char *to = text;

	while (*from) {
		uint32_t character = 0;
		unsigned length = decode(from, &character);
		bool good = length && !is_hidden(character) &&
			    (!is_control(character) || (keep_lines && character == '\n'));

		for (unsigned i = 0; good && i < length; i++)
			*to++ = (char)from[i];
		if (!good)
			*to++ = '?';
		from += length ? length : 1;
	}
	*to = 0;
}
