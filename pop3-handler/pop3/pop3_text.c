/*
 * pop3_text.c - the table of texts and languages.
 */
#include "pop3/pop3_text.h"

#include <string.h>

struct row {
	const char *status;
	const char *in[POP3_LANGUAGES];
};

/* German is UTF-8: it is only sent to whom asked for it by LANG. */
static const struct row rows[] = {
	[POP3_TEXT_BAD_NAME] = { "-ERR",
	    { "Not a user name", "Kein Benutzername" } },
	[POP3_TEXT_BAD_PASSWORD] = { "-ERR [AUTH]",
	    { "Not a password", "Kein Passwort" } },
	[POP3_TEXT_BYE] = { "+OK", { "Bye", "Auf Wiedersehen" } },
	[POP3_TEXT_CANCELLED] = { "-ERR", { "Cancelled", "Abgebrochen" } },
	[POP3_TEXT_CANNOT_DELETE] = { "-ERR",
	    { "Messages cannot be deleted here",
	      "Nachrichten k\u00f6nnen hier nicht gel\u00f6scht werden" } },
	[POP3_TEXT_CAPABILITIES] = { "+OK",
	    { "Capabilities:", "F\u00e4higkeiten:" } },
	[POP3_TEXT_FOREIGN] = { "-ERR",
	    { "This is POP3, closing",
	      "Hier ist POP3, die Verbindung wird beendet" } },
	[POP3_TEXT_GO_AHEAD] = { "+OK", { "Go ahead", "Nur zu" } },
	[POP3_TEXT_IN_USE] = { "-ERR [IN-USE]",
	    { "Another session has the maildrop",
	      "Eine andere Sitzung hat das Postfach" } },
	[POP3_TEXT_LANGUAGES] = { "+OK", { "Languages:", "Sprachen:" } },
	[POP3_TEXT_LOG_IN_FIRST] = { "-ERR",
	    { "Log in first", "Erst anmelden" } },
	[POP3_TEXT_LOGGED_IN] = { "-ERR",
	    { "Logged in already", "Schon angemeldet" } },
	[POP3_TEXT_MALFORMED] = { "-ERR",
	    { "Malformed response", "Fehlerhafte Antwort" } },
	[POP3_TEXT_MARKED] = { "+OK",
	    { "Marked to be deleted", "Zum L\u00f6schen vorgemerkt" } },
	[POP3_TEXT_MECHANISMS] = { "+OK", { "Mechanisms:", "Verfahren:" } },
	[POP3_TEXT_NEEDS_STLS] = { "-ERR",
	    { "Logins need STLS first", "Anmelden geht erst nach STLS" } },
	[POP3_TEXT_NO_ACCESS] = { "-ERR [SYS/PERM]",
	    { "The maildrop cannot be opened",
	      "Das Postfach l\u00e4sst sich nicht \u00f6ffnen" } },
	[POP3_TEXT_NO_ARGUMENT] = { "-ERR",
	    { "No argument expected", "Kein Argument erwartet" } },
	[POP3_TEXT_NO_LANGUAGE] = { "-ERR",
	    { "No such language, LANG lists them",
	      "Unbekannte Sprache, LANG nennt sie" } },
	[POP3_TEXT_NO_LOGIN] = { "-ERR",
	    { "Logins are not possible on this connection",
	      "Anmelden ist auf dieser Verbindung nicht m\u00f6glich" } },
	[POP3_TEXT_NO_MAILDROP] = { "-ERR [SYS/PERM]",
	    { "There is no maildrop", "Es gibt kein Postfach" } },
	[POP3_TEXT_NO_MECHANISM] = { "-ERR",
	    { "No such mechanism, CAPA lists them",
	      "Unbekanntes Verfahren, CAPA nennt sie" } },
	[POP3_TEXT_NO_STLS] = { "-ERR",
	    { "There is no STLS here", "STLS gibt es hier nicht" } },
	[POP3_TEXT_NO_SUCH_MESSAGE] = { "-ERR",
	    { "No such message", "Diese Nachricht gibt es nicht" } },
	[POP3_TEXT_NOT_REMOVED] = { "-ERR [SYS/TEMP]",
	    { "Some messages were not removed",
	      "Einige Nachrichten wurden nicht entfernt" } },
	[POP3_TEXT_NOT_UTF8] = { "-ERR [UTF8]",
	    { "Names and passwords are UTF-8",
	      "Namen und Passw\u00f6rter sind UTF-8" } },
	[POP3_TEXT_PERMANENT] = { "-ERR [SYS/PERM]",
	    { "A file outside a maildir cannot be deleted",
	      "Eine Datei au\u00dferhalb eines Maildirs kann nicht "
	      "gel\u00f6scht werden" } },
	[POP3_TEXT_REFUSED] = { "-ERR [AUTH]",
	    { "Logins are refused here", "Anmelden ist hier verwehrt" } },
	[POP3_TEXT_SEND_PASSWORD] = { "+OK",
	    { "Send the password", "Bitte das Passwort" } },
	[POP3_TEXT_TEMPORARY] = { "-ERR [SYS/TEMP]",
	    { "Cannot log you in now",
	      "Anmelden ist gerade nicht m\u00f6glich" } },
	[POP3_TEXT_TOO_LONG] = { "-ERR", { "Line too long",
	    "Zeile zu lang" } },
	[POP3_TEXT_TOP_FOLLOWS] = { "+OK",
	    { "Top of message follows", "Es folgt der Anfang der Nachricht" } },
	[POP3_TEXT_TOP_TAKES] = { "-ERR",
	    { "TOP takes a message number and a number of lines",
	      "TOP braucht die Nummer einer Nachricht und eine Zeilenzahl" } },
	[POP3_TEXT_UNKNOWN] = { "-ERR",
	    { "Unknown command", "Unbekannter Befehl" } },
	[POP3_TEXT_USER_FIRST] = { "-ERR",
	    { "USER comes first", "USER kommt zuerst" } },
	[POP3_TEXT_UTF8] = { "+OK", { "UTF-8 it is", "Also UTF-8" } },
	[POP3_TEXT_WRONG] = { "-ERR [AUTH]",
	    { "Wrong name or password", "Name oder Passwort falsch" } },
	[POP3_TEXT_CANNOT_READ] = { "",
	    { "Cannot read that message",
	      "Diese Nachricht ist nicht lesbar" } },
	[POP3_TEXT_CHANGED] = { "",
	    { "Texts are in English now", "Texte sind jetzt deutsch" } },
	[POP3_TEXT_MESSAGES] = { "", { "messages", "Nachrichten" } },
	[POP3_TEXT_OCTETS] = { "", { "octets", "Oktette" } },
	[POP3_TEXT_READY] = { "", { "POP3 ready", "POP3 bereit" } },
};

/* RFC 6856 section 3.2: i-default is always there. */
const struct pop3_language_row pop3_languages[] = {
	{ "i-default", POP3_ENGLISH, "Default language" },
	{ "en", POP3_ENGLISH, "English" },
	{ "de", POP3_GERMAN, "Deutsch" },
};

const size_t pop3_languages_count =
    sizeof(pop3_languages) / sizeof(pop3_languages[0]);

const char *
pop3_text_status(enum pop3_text text)
{
	return rows[text].status;
}

const char *
pop3_text(enum pop3_text text, enum pop3_language language)
{
	return rows[text].in[language];
}

static bool
is_alphanumeric(char c)
{
	return (slice_lower(c) >= 'a' && slice_lower(c) <= 'z') ||
	    (c >= '0' && c <= '9');
}

/* RFC 4647 section 2.1: 1*8ALPHA *("-" 1*8alphanum). That the first has no
 * digits goes without saying: no tag of ours has. */
static bool
is_language_range(struct slice range)
{
	struct slice subtag;
	bool more = true;

	while (more) {
		more = slice_cut(range, '-', &subtag, &range);
		if (subtag.len < 1 || subtag.len > 8)
			return false;
		for (size_t i = 0; i < subtag.len; i++)
			if (!is_alphanumeric(subtag.data[i]))
				return false;
	}
	return true;
}

const struct pop3_language_row *
pop3_find_language(struct slice range)
{
	if (slice_equal(range, SLICE("*")))
		return &pop3_languages[0];
	if (!is_language_range(range))
		return NULL;
	while (range.len > 0) {
		for (size_t i = 0; i < pop3_languages_count; i++)
			if (slice_equal_nocase(range,
			    slice_from(pop3_languages[i].tag)))
				return &pop3_languages[i];
		/* Without its last subtag. */
		const char *dash = memrchr(range.data, '-', range.len);
		range.len = dash == NULL ? 0 : (size_t)(dash - range.data);
	}
	return NULL;
}
