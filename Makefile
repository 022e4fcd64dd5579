# pop3-handler and smtp-handler. "make help" lists what there is to make.

PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
UNITDIR ?= $(PREFIX)/lib/systemd/system
USERUNITDIR ?= $(PREFIX)/lib/systemd/user
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
SYSCONFDIR ?= /etc
DATADIR ?= $(PREFIX)/share/mail-handlers
DOCDIR ?= $(PREFIX)/share/doc/mail-handlers

BUILD ?= build
CC ?= cc
AR ?= ar
LD ?= ld
OBJCOPY ?= objcopy
PKG_CONFIG ?= pkg-config
INSTALL ?= install

# SYSTEMD=no builds without libsystemd; WERROR=no lets warnings pass;
# SANITIZE=address,undefined builds with sanitizers, and make check tests what
# was built so, with limits four times as long; V=1 shows commands.
SYSTEMD ?= yes
WERROR ?= no
SANITIZE ?=

CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wvla -Wformat=2
HARDENING = -pthread -fPIC -fvisibility=hidden -fstack-protector-strong \
	-fno-plt \
	-fno-strict-overflow
HARDENING_LD = -pthread -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed

ifeq ($(V),1)
say = @:
else
.SILENT:
say = @printf '  %-4s %s\n'
endif

ifneq ($(SANITIZE),)
HARDENING += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
HARDENING_LD += -fsanitize=$(SANITIZE)
else
HARDENING += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
ifeq ($(WERROR),yes)
WARNINGS += -Werror
endif
ifeq ($(SYSTEMD),yes)
SYSTEMD_CFLAGS = -DHAVE_SYSTEMD \
	$(shell $(PKG_CONFIG) --cflags libsystemd 2>/dev/null)
endif

INCLUDES = -Icommon -Ipop3-handler -Ismtp-handler
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) $(HARDENING) \
	$(INCLUDES) $(SYSTEMD_CFLAGS) $(CPPFLAGS)
# libtls for TLS, libcrypto (which libtls brings in anyway) for SHA-256,
# libcrypt for password hashes.
LIBS = -ltls -lcrypto
ifneq ($(shell uname -s),OpenBSD)
LIBS += -lcrypt
endif

# A folder is a layer, and its sources are what lies in it: common/README.md.
sources = $(wildcard $(1:%=%/*.c))
library_sources = $(call sources,common/library)
common_sources = $(filter-out $(library_sources),\
	$(call sources,common common/*))
pop3_sources = $(call sources,pop3-handler/pop3)
smtp_sources = $(call sources,smtp-handler/smtp)

OBJ = $(BUILD)/obj
objects = $(1:%.c=$(OBJ)/%.o)
library_objects = $(call objects,$(library_sources))
common_objects = $(call objects,$(common_sources))
pop3_objects = $(call objects,$(pop3_sources))
smtp_objects = $(call objects,$(smtp_sources))
pop3_program_objects = $(call objects,$(call sources,pop3-handler))
smtp_program_objects = $(call objects,$(call sources,smtp-handler))
# What smtp-handler has beside its main.c, for tests of its parts.
smtp_parts = $(BUILD)/smtp-handler.a
# libmailhandlers: what is in it, and the names under which it is installed.
library_parts = $(library_objects) $(pop3_objects) $(smtp_objects) \
	$(filter $(OBJ)/common/base/% $(OBJ)/common/protocol/%,\
	$(common_objects)) $(OBJ)/common/system/clock.o
library_version = 0.1.0
soname = libmailhandlers.so.0
embeddable = $(BUILD)/libmailhandlers.a $(BUILD)/$(soname) \
	$(filled)/mailhandlers.pc
# Each needs what stands after it.
libraries = $(BUILD)/liblibrary.a $(BUILD)/libpop3.a $(BUILD)/libsmtp.a \
	$(BUILD)/libcommon.a

unit_tests = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,\
	$(wildcard tests/unit/test_*.c))
ports = pop3-handler pop3-handler-stls smtp-handler smtp-handler-submission \
	smtp-handler-mx
# Paths are put into what names the installed programs, in a folder for each
# set of them: who installs to another place at the same time is not disturbed.
installed_paths = $(SBINDIR) $(SYSCONFDIR) $(LIBDIR) $(INCLUDEDIR)
usual_paths = /usr/local/sbin /etc /usr/local/lib /usr/local/include
ifeq ($(installed_paths),$(usual_paths))
filled := $(BUILD)/units
else
filled := $(BUILD)/units-$(shell printf %s '$(installed_paths)' | \
	cksum | cut -d' ' -f1)
endif
units = $(patsubst units/%.in,$(filled)/%,\
	$(wildcard units/*.in units/*/*.in)) \
	$(filled)/pop3-handler-stls@.service \
	$(filled)/smtp-handler-submission@.service \
	$(filled)/smtp-handler-mx@.service \
	$(foreach port,$(ports),$(filled)/$(port)-warm.socket \
	$(filled)/$(port)-warm.service)
fuzzers = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
man_pages = $(wildcard man/*.[1-9])

.PHONY: all help demo check check-unit bench units install uninstall clean
.DEFAULT_GOAL = all

programs = $(BUILD)/pop3-handler $(BUILD)/smtp-handler
all: $(programs) $(embeddable) ## build both programs and the library

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) \
	    | expand -t 24
	@echo 'Variables: PREFIX DESTDIR BUILD CC CFLAGS SYSTEMD=no' \
	    'SANITIZE=address,undefined'

$(BUILD)/pop3-handler: $(pop3_program_objects) $(libraries)
	$(say) LD $@
	$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) -o $@ \
	    $(pop3_program_objects) $(BUILD)/libpop3.a \
	    $(BUILD)/libcommon.a $(LIBS)

$(BUILD)/smtp-handler: $(smtp_program_objects) $(libraries)
	$(say) LD $@
	$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) -o $@ \
	    $(smtp_program_objects) $(BUILD)/libsmtp.a \
	    $(BUILD)/libcommon.a $(LIBS)

$(BUILD)/liblibrary.a: $(library_objects)
$(BUILD)/libcommon.a: $(common_objects)
$(BUILD)/libpop3.a: $(pop3_objects)
$(BUILD)/libsmtp.a: $(smtp_objects)
$(smtp_parts): $(filter-out %/main.o,$(smtp_program_objects))
$(libraries) $(smtp_parts):
	$(say) AR $@
	rm -f $@
	$(AR) rcs $@ $^

# One object whose other symbols are local: nobody's buf_init or error_set
# meets ours.
$(BUILD)/libmailhandlers.a: $(library_parts)
	$(say) AR $@
	$(LD) -r -o $(OBJ)/mailhandlers.o $(library_parts)
	$(OBJCOPY) --wildcard --keep-global-symbol='mh_*' \
	    $(OBJ)/mailhandlers.o
	rm -f $@
	$(AR) rcs $@ $(OBJ)/mailhandlers.o

$(BUILD)/$(soname): $(library_parts) common/library/mailhandlers.map
	$(say) LD $@
	$(CC) $(CFLAGS) $(filter-out -pie,$(HARDENING_LD)) $(LDFLAGS) -shared \
	    -Wl,-soname,$(soname) -Wl,-z,defs \
	    -Wl,--version-script=common/library/mailhandlers.map -o $@ \
	    $(library_parts) -ltls

$(filled)/mailhandlers.pc: common/library/mailhandlers.pc.in Makefile
	@mkdir -p $(@D)
	sed -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' \
	    -e 's|@VERSION@|$(library_version)|g' $< > $@.$$$$ && mv $@.$$$$ $@

# What the build depends on beside the sources: other flags, other objects.
$(OBJ)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || \
	    echo '$(CC) $(ALL_CFLAGS)' > $@
FORCE:

$(OBJ)/%.o: %.c $(OBJ)/flags
	$(say) CC $@
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Its memory and its connections can be made to fail.
$(BUILD)/tests/unit/test_server: TEST_LIBS = \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=accept4
$(BUILD)/tests/unit/test_maildir_entries: TEST_LIBS = \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/tests/unit/test_maildir_index: TEST_LIBS = \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/tests/unit/test_maildir_measure: TEST_LIBS = \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/tests/unit/test_maildir_meanwhile: TEST_LIBS = \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/tests/unit/test_maildir_remove: TEST_LIBS = \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/tests/unit/test_server_calls: TEST_LIBS = -Wl,--wrap=malloc
# As a relay's memory; and no command is run for its password.
$(BUILD)/tests/unit/test_relay_calls: TEST_LIBS = -Wl,--wrap=runner_run
$(BUILD)/tests/unit/test_relay_text: TEST_LIBS = -Wl,--wrap=malloc
# The filter of system calls is looked at, not loaded.
$(BUILD)/tests/unit/test_confine_calls: TEST_LIBS = -Wl,--wrap=prctl
# What it compares is counted, and an adversary answers.
$(BUILD)/tests/unit/test_maildir_sort: TEST_LIBS = -Wl,--wrap=slice_compare
$(BUILD)/tests/unit/%: $(OBJ)/tests/unit/%.o $(libraries) $(smtp_parts)
	@mkdir -p $(@D)
	$(say) LD $@
	$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) -o $@ $< $(smtp_parts) \
	    $(libraries) $(LIBS) $(TEST_LIBS) -lcmocka

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)

demo: ## the main job: send a message and fetch it back, then serve
	@BUILD='$(BUILD)' tests/setup.sh demo
	@$(MAKE) --no-print-directory all
	@BUILD='$(BUILD)' ONCE='$(ONCE)' exec tests/demo.sh

# THUNDERBIRD=yes installs Thunderbird and tries it too.
THUNDERBIRD ?= no
check: ## all tests, after installing what they need
	@BUILD='$(BUILD)' tests/setup.sh \
	    $(if $(filter yes,$(THUNDERBIRD)),thunderbird,check)
	@$(MAKE) --no-print-directory all units build-unit-tests \
	    build-replays build-exhaust
	@BUILD='$(BUILD)' THUNDERBIRD='$(THUNDERBIRD)' tests/run

.PHONY: build-unit-tests
build-unit-tests: $(unit_tests)

check-unit: ## unit tests only
	@BUILD='$(BUILD)' tests/setup.sh unit
	@$(MAKE) --no-print-directory build-unit-tests
	@BUILD='$(BUILD)' tests/run tests/unit

.PHONY: analyse
analyse: ## gcc -fanalyzer, scan-build, clang-tidy, cppcheck
	@BUILD='$(BUILD)' tests/setup.sh analyse
	@BUILD='$(BUILD)' tests/analyse.sh

# COVER names tests as for tests/run; all of them: make coverage COVER=
COVER ?= tests/unit tests/check/fuzz
COVERED = BUILD=$(BUILD)/coverage CPPFLAGS=-DCONFINE_NOTHING \
	CFLAGS='-Og -g --coverage'
.PHONY: coverage
coverage: ## lines that the unit tests reach, by file
	@BUILD='$(BUILD)' tests/setup.sh unit
	$(MAKE) --no-print-directory $(COVERED) all build-unit-tests \
	    build-replays
	find $(BUILD)/coverage -name '*.gcda' -exec rm {} +
	@BUILD='$(BUILD)/coverage' tests/run $(COVER)
	@tests/coverage.sh '$(BUILD)/coverage'

.PHONY: fuzz-coverage
fuzz-coverage: ## lines of its module that each fuzzer's corpus reaches
	@BUILD='$(BUILD)' tests/setup.sh unit
	$(MAKE) --no-print-directory $(COVERED) build-replays
	@tests/fuzz/coverage.sh '$(BUILD)/coverage'

# Which benchmarks there are: tests/bench/bench.py --help. BENCH names some,
# MILLION=yes adds the one that takes gigabytes, RECORD=yes writes the results
# to tests/bench/RESULTS.md, the plot beside it and README.md.
.PHONY: build-bench
build-bench: $(patsubst %,$(BUILD)/tests/bench/%,\
    bare client latency readall sender)

bench: ## measure, beside others
	@BUILD='$(BUILD)' tests/setup.sh bench
	@$(MAKE) --no-print-directory all build-bench
	@BUILD='$(BUILD)' tests/bench/bench.py \
	    $(if $(filter yes,$(RECORD)),--record) \
	    $(if $(filter yes,$(MILLION)),--million) $(BENCH)

$(BUILD)/tests/bench/%: tests/bench/%.c
	$(say) CC $@
	@mkdir -p $(@D)
	$(CC) -std=c17 -D_GNU_SOURCE $(CFLAGS) $(HARDENING) $(HARDENING_LD) \
	    -o $@ $< -ltls

units: $(units) ## fill in the paths in units and samples


# A unit has a source for two ways to be started: lines that begin with @each@
# are for a program executed for each connection, those with @warm@ for a
# process forked for each.
fill = sed -e '/^@$(1)@/d' -e 's/^@[a-z]*@ \{0,1\}//' \
	-e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g'

$(filled)/%: units/%.in Makefile
	@mkdir -p $(@D)
	@$(call fill,warm) $< > $@.$$$$ && mv $@.$$$$ $@

$(filled)/%-warm.socket: units/%.socket.in Makefile
	@mkdir -p $(@D)
	@$(call fill,each) $< > $@.$$$$ && mv $@.$$$$ $@

$(filled)/%-warm.service: units/%@.service.in Makefile
	@mkdir -p $(@D)
	@$(call fill,each) $< > $@.$$$$ && mv $@.$$$$ $@

# The STARTTLS ports are the same services under other names: a socket starts
# the service of its own name.
starttls = sed -e '/^ExecStart=/s/$$/ --tls starttls/' \
	-e 's/POP3S connection/POP3 connection/' \
	-e 's/SMTPS connection/SMTP connection/' \
	-e 's/$(1)\(-warm\)\{0,1\}\.socket/$(1)-$(2)\1.socket/' \
	-e 's/edit $(1)/edit $(1)-$(2)/'

$(filled)/pop3-handler-stls@.service: \
    $(filled)/pop3-handler@.service
	@$(call starttls,pop3-handler,stls) $< > $@

$(filled)/pop3-handler-stls-warm.service: \
    $(filled)/pop3-handler-warm.service
	@$(call starttls,pop3-handler,stls) $< > $@

$(filled)/smtp-handler-submission@.service: \
    $(filled)/smtp-handler@.service
	@$(call starttls,smtp-handler,submission) $< > $@.$$$$ && mv $@.$$$$ $@

$(filled)/smtp-handler-submission-warm.service: \
    $(filled)/smtp-handler-warm.service
	@$(call starttls,smtp-handler,submission) $< > $@.$$$$ && mv $@.$$$$ $@

# Port 25 is for strangers: settings of its own, and no passwords of next hops.
mx = sed -e '/^ExecStart=/s/smtp-handler\.conf/smtp-handler-mx.conf/' \
	-e '/=relay:/d' \
	-e 's/An absent users or relay file/An absent users file/' \
	-e '/^\# Names of next hops/d' -e '/^After=nss-lookup/d' \
	-e 's/SMTP connections/& of other mail servers/' \
	-e 's/SMTP connection\([^s]\|$$\)/SMTP connection of other servers\1/'

$(filled)/smtp-handler-mx@.service: $(filled)/smtp-handler@.service
	@$(call starttls,smtp-handler,mx) $< | $(mx) > $@.$$$$ && mv $@.$$$$ $@

$(filled)/smtp-handler-mx-warm.service: \
    $(filled)/smtp-handler-warm.service
	@$(call starttls,smtp-handler,mx) $< | $(mx) > $@.$$$$ && mv $@.$$$$ $@

# Corpora run through the fuzzers' checks, by any compiler; and the fuzzers
# themselves, which need clang: make fuzz FUZZ=smtp SECONDS=600
.PHONY: build-replays fuzz
build-replays: $(fuzzers:%=$(BUILD)/tests/fuzz/replay_%)

$(BUILD)/tests/fuzz/replay_%: $(OBJ)/tests/fuzz/fuzz_%.o \
    $(OBJ)/tests/fuzz/replay.o $(libraries) $(smtp_parts)
	@mkdir -p $(@D)
	$(say) LD $@
	$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) -o $@ $< \
	    $(OBJ)/tests/fuzz/replay.o $(smtp_parts) $(libraries) $(LIBS)

# Every dialogue of up to DEPTH lines against small models of the protocols:
# make exhaust DEPTH=5 takes minutes of a core, each line more 30 times that.
.PHONY: build-exhaust exhaust
exhaust_programs = $(BUILD)/tests/exhaust/smtp $(BUILD)/tests/exhaust/pop3
build-exhaust: $(exhaust_programs)

$(BUILD)/tests/exhaust/%: $(OBJ)/tests/exhaust/exhaust_%.o \
    $(OBJ)/tests/exhaust/exhaust.o $(libraries)
	@mkdir -p $(@D)
	$(say) LD $@
	$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) -o $@ $< \
	    $(OBJ)/tests/exhaust/exhaust.o $(BUILD)/libpop3.a \
	    $(BUILD)/libsmtp.a $(BUILD)/libcommon.a

# One slip of the hand at a time: does a test notice? MUTANTS names modules.
.PHONY: mutants
mutants: ## do tests notice changes of the code?
	@BUILD='$(BUILD)' tests/setup.sh unit
	@$(MAKE) --no-print-directory build-unit-tests build-exhaust \
	    build-replays
	BUILD='$(BUILD)' tests/mutants/mutants.py $(MUTANTS)

# Three hosts with one maildir store, and failures: STORES names what is tried,
# MESSAGES how many are sent. As root.
.PHONY: check-hosts
STORES ?= moosefs glusterfs
MESSAGES ?= 2000
check-hosts: ## several hosts over MooseFS and GlusterFS, with failures
	@BUILD='$(BUILD)' tests/setup.sh hosts
	@$(MAKE) --no-print-directory all
	for store in $(STORES); do BUILD='$(BUILD)' tests/hosts/hosts.py \
	    $$store $(MESSAGES) || exit; done

# Good, rude, cut off and slow clients: is anything left behind? As root, for
# units in a systemd of their own; LISTEN=yes needs neither.
.PHONY: soak
SESSIONS ?= 200000
soak: ## SESSIONS=n of all kinds against the warm units
	@BUILD='$(BUILD)' tests/setup.sh soak
	@$(MAKE) --no-print-directory all
	BUILD='$(BUILD)' tests/soak/soak.py \
	    $(if $(filter yes,$(LISTEN)),--listen) $(SESSIONS)

DEPTH ?= 5
exhaust: ## every dialogue of up to DEPTH lines
	@BUILD='$(BUILD)' tests/setup.sh build
	@$(MAKE) --no-print-directory build-exhaust
	for program in $(exhaust_programs); do $$program $(DEPTH) || exit; done

SECONDS ?= 60
fuzz: ## FUZZ=name SECONDS=n: fuzz one module
	@BUILD='$(BUILD)' tests/setup.sh fuzz
	$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang \
	    SANITIZE=fuzzer-no-link,address,undefined fuzzer-$(FUZZ)
	mkdir -p $(BUILD)/fuzz/corpus/$(FUZZ) $(BUILD)/fuzz/found
	$(BUILD)/fuzz/fuzz_$(FUZZ) -max_total_time=$(SECONDS) \
	    -artifact_prefix=$(BUILD)/fuzz/found/ \
	    $$(ls tests/fuzz/dict/$(FUZZ).dict 2>/dev/null | \
	    sed 's/^/-dict=/') $(BUILD)/fuzz/corpus/$(FUZZ) \
	    tests/fuzz/corpus/$(FUZZ)

.PHONY: fuzz-all
fuzz-all: ## SECONDS=n of CPU time for each fuzzer, in turn
	@BUILD='$(BUILD)' tests/setup.sh fuzz
	$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang \
	    SANITIZE=fuzzer-no-link,address,undefined $(fuzzers:%=fuzzer-%)
	BUILD=$(BUILD) tests/fuzz/campaign.py $(SECONDS)

fuzzer-%: $(OBJ)/tests/fuzz/fuzz_%.o $(libraries) $(smtp_parts)
	$(CC) $(CFLAGS) -fsanitize=fuzzer,address,undefined \
	    -o $(BUILD)/fuzz_$*.new $< $(smtp_parts) $(libraries) $(LIBS)
	mv $(BUILD)/fuzz_$*.new $(BUILD)/fuzz_$* # a campaign may be running it
.PRECIOUS: $(OBJ)/%.o

# What is installed, and so what uninstall removes: a line for each, as
# units/install.sh has it.
define installed
755 SBINDIR $(BUILD)/pop3-handler $(BUILD)/smtp-handler
755 SBINDIR $(filled)/mail-handlers-user
644 LIBDIR $(BUILD)/libmailhandlers.a
755 LIBDIR $(BUILD)/$(soname)
link LIBDIR $(soname)=libmailhandlers.so
644 LIBDIR/pkgconfig $(filled)/mailhandlers.pc
644 INCLUDEDIR common/library/mailhandlers.h
644 MANDIR/man3 $(filter %.3,$(man_pages))
644 MANDIR/man5 $(filter %.5,$(man_pages))
644 MANDIR/man7 $(filter %.7,$(man_pages))
644 MANDIR/man8 $(filter %.8,$(man_pages))
644 UNITDIR $(wildcard units/*.slice)
644 UNITDIR $(filter-out $(user_units),$(filter %.service %.socket,$(units)))
644 USERUNITDIR $(wildcard units/user/*.socket) $(user_units)
644 SYSUSERSDIR units/mail-handlers.sysusers.conf=mail-handlers.conf
644 TMPFILESDIR units/mail-handlers.tmpfiles.conf=mail-handlers.conf
644 CATALOGDIR units/mail-handlers.catalog
644 DOCDIR README.md LICENSE units/README.md=operators.md
644 DATADIR $(filled)/inetd.conf
644 DATADIR/haproxy $(call samples,haproxy)
755 DATADIR/acme $(call samples,acme)
755 DATADIR/s6 $(call samples,s6)
644 DATADIR/stunnel $(call samples,stunnel)
755 DATADIR/ucspi $(call samples,ucspi)
644 DATADIR/xinetd $(call samples,xinetd)
keep SYSCONFDIR/mail-handlers units/pop3-handler.conf units/smtp-handler.conf
keep SYSCONFDIR/mail-handlers units/smtp-handler-mx.conf
endef
user_units = $(filter $(filled)/user/%,$(units))
# Examples for another super-server, as they are or filled in.
samples = $(filter-out %.in,$(wildcard units/$1/*)) \
	$(filter $(filled)/$1/%,$(units))

ifneq ($(filter install uninstall,$(MAKECMDGOALS)),)
export DESTDIR SBINDIR LIBDIR INCLUDEDIR MANDIR UNITDIR USERUNITDIR \
	SYSUSERSDIR TMPFILESDIR CATALOGDIR DOCDIR DATADIR SYSCONFDIR INSTALL \
	installed
endif

install: all units $(filled)/mailhandlers.pc ## install under DESTDIR and PREFIX
	printf '%s\n' "$$installed" | units/install.sh install

uninstall: ## remove what install put there, but for the configuration
	printf '%s\n' "$$installed" | units/install.sh uninstall

# The demo's folder has mail, and a certificate that clients were told to trust.
# DEB_VERSION=0.2+1 makes another one, to try an upgrade.
DEB_VERSION ?= $(shell sed -n 's/.*VERSION "\(.*\)"/\1/p' common/base/version.h)
.PHONY: deb
deb: all units ## Debian packages, in BUILD/deb
	@BUILD='$(BUILD)' tests/setup.sh deb
	@BUILD='$(BUILD)' units/debian/build.sh '$(DEB_VERSION)' '$(BUILD)/deb'

clean: ## remove the build directory, but for mail that the demo took
	[ ! -d $(BUILD) ] || find $(BUILD) -mindepth 1 -maxdepth 1 \
	    ! -name demo -exec rm -rf {} +
	[ ! -d $(BUILD) ] || rmdir $(BUILD) 2>/dev/null || \
	    echo 'kept $(BUILD)/demo'
