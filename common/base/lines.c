/*
 * lines.c - the one loop over the lines of users, accounts and settings.
 */
#include "base/lines.h"

#include <string.h>

char *
lines_next(struct lines *lines)
{
	char *line = lines->next;

	if (line == NULL)
		return NULL;
	char *end = strchr(line, '\n');
	lines->next = end != NULL ? end + 1 : NULL;
	if (end == NULL)
		end = line + strlen(line);
	else
		*end = '\0';
	if (end > line && end[-1] == '\r')
		end[-1] = '\0';
	lines->number++;
	return line;
}
