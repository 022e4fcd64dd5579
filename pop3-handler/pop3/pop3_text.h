/*
 * pop3_text: what POP3 replies say to people, in each language of LANG
 * (RFC 6856 section 3). What programs read, the status and the response code
 * before the text, is the same in all of them.
 */
#ifndef POP3_TEXT_H
#define POP3_TEXT_H

#include <stddef.h>

#include "base/slice.h"

enum pop3_language {
	POP3_ENGLISH, /* "i-default" of RFC 2277 too */
	POP3_GERMAN,
	POP3_LANGUAGES,
};

enum pop3_text {
	/* Whole replies. */
	POP3_TEXT_BAD_NAME,
	POP3_TEXT_BAD_PASSWORD,
	POP3_TEXT_BYE,
	POP3_TEXT_CANCELLED,
	POP3_TEXT_CANNOT_DELETE,
	POP3_TEXT_CAPABILITIES,
	POP3_TEXT_FOREIGN,
	POP3_TEXT_GO_AHEAD,
	POP3_TEXT_IN_USE,
	POP3_TEXT_LANGUAGES,
	POP3_TEXT_LOG_IN_FIRST,
	POP3_TEXT_LOGGED_IN,
	POP3_TEXT_MALFORMED,
	POP3_TEXT_MARKED,
	POP3_TEXT_MECHANISMS,
	POP3_TEXT_NEEDS_STLS,
	POP3_TEXT_NO_ACCESS,
	POP3_TEXT_NO_ARGUMENT,
	POP3_TEXT_NO_LANGUAGE,
	POP3_TEXT_NO_LOGIN,
	POP3_TEXT_NO_MAILDROP,
	POP3_TEXT_NO_MECHANISM,
	POP3_TEXT_NO_STLS,
	POP3_TEXT_NO_SUCH_MESSAGE,
	POP3_TEXT_NOT_REMOVED,
	POP3_TEXT_NOT_UTF8,
	POP3_TEXT_PERMANENT,
	POP3_TEXT_REFUSED,
	POP3_TEXT_SEND_PASSWORD,
	POP3_TEXT_TEMPORARY,
	POP3_TEXT_TOO_LONG,
	POP3_TEXT_TOP_FOLLOWS,
	POP3_TEXT_TOP_TAKES,
	POP3_TEXT_UNKNOWN,
	POP3_TEXT_USER_FIRST,
	POP3_TEXT_UTF8,
	POP3_TEXT_WRONG,
	/* Parts of replies. */
	POP3_TEXT_CANNOT_READ,
	POP3_TEXT_CHANGED,
	POP3_TEXT_MESSAGES,
	POP3_TEXT_OCTETS,
	POP3_TEXT_READY,
};

/* "+OK", "-ERR", "-ERR [AUTH]": empty for a part of a reply. */
const char *pop3_text_status(enum pop3_text text);
const char *pop3_text(enum pop3_text text, enum pop3_language language);

/* Lines of the listing: a tag (RFC 5646) and the language's own name. */
struct pop3_language_row {
	const char *tag;
	enum pop3_language language;
	const char *name;
};

extern const struct pop3_language_row pop3_languages[];
extern const size_t pop3_languages_count;

/*
 * The row for a language range: "*" is the default, else the best match by
 * RFC 4647 section 3.4 ("de-AT" finds "de"). NULL where there is none, and
 * for what is no basic language range (section 2.1).
 */
const struct pop3_language_row *pop3_find_language(struct slice range);

#endif
