/* version: which release this is, for --version and IMPLEMENTATION. */
#ifndef VERSION_H
#define VERSION_H

#define MAIL_HANDLERS_VERSION "0.2"

#endif
