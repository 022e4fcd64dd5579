/*
 * foreign: is this line of some other protocol?
 *
 * A web page can make a browser send what it likes to any port, a form's
 * text too, whose lines would be commands. What gives it away are the
 * request line and the header that come first.
 */
#ifndef FOREIGN_H
#define FOREIGN_H

#include <stdbool.h>

#include "base/slice.h"

/*
 * A request of HTTP or its kin ("GET / HTTP/1.1", "INVITE sip:x SIP/2.0"),
 * by its method or its version; or a header field ("Host: x"). To be asked
 * of lines that are no command: it knows neither SMTP nor POP3.
 */
bool foreign_is_request(struct slice line);

#endif
