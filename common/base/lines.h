/*
 * lines: a settings file's text cut into its lines, in place.
 */
#ifndef LINES_H
#define LINES_H

/* Begin with the whole text, NUL-terminated, as next, and number 0. */
struct lines {
	char *next;
	unsigned number; /* of the line that was taken last, from 1 */
};

/*
 * The next line, NUL-terminated in place, without its LF or CRLF; NULL after
 * the last one. What stands behind the last LF is a line too, be it empty.
 */
char *lines_next(struct lines *lines);

#endif
