/*
 * domains.c - is this address at one of our own domains?
 */
#include "protocol/domains.h"

#include <string.h>

bool
domains_have(const struct domains *domains, struct slice domain)
{
	for (size_t i = 0; i < domains->n; i++)
		if (slice_equal_nocase(slice_from(domains->names[i]),
		    domain))
			return true;
	return false;
}

struct slice
domains_local_part(const struct domains *domains, struct slice address)
{
	const char *at = address.len > 0
	    ? memrchr(address.data, '@', address.len) : NULL;

	if (at == NULL)
		return slice_from(NULL);
	size_t len = (size_t)(at - address.data);
	if (!domains_have(domains, slice_skip(address, len + 1)))
		return slice_from(NULL);
	return (struct slice){ address.data, len };
}
