/*
 * pop3_settings: the options of pop3-handler.
 */
#ifndef POP3_SETTINGS_H
#define POP3_SETTINGS_H

#include "settings/settings.h"

struct pop3_settings {
	struct common_settings common; /* first */
	int scan; /* enum maildir_reach */
	bool allow_delete;
	const char *cache_dir; /* NULL: no cache */
};

/* All rows, the shared ones too. */
void pop3_settings_table(struct option_table *table);

#endif
