# pop3-handler and smtp-handler. "make help" lists what there is to make.

PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
SYSCONFDIR ?= /etc
DATADIR ?= $(PREFIX)/share/mail-handlers
DOCDIR ?= $(PREFIX)/share/doc/mail-handlers

BUILD ?= build
CC ?= cc
AR ?= ar
PKG_CONFIG ?= pkg-config
INSTALL ?= install

# SYSTEMD=no builds without libsystemd; WERROR=no lets warnings pass;
# SANITIZE=address,undefined builds with sanitizers; V=1 shows commands.
SYSTEMD ?= yes
WERROR ?= no
SANITIZE ?=

CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wvla -Wformat=2
HARDENING = -pthread -fPIE -fstack-protector-strong -fno-plt \
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
common_sources = $(call sources,common common/*)
pop3_sources = $(call sources,pop3-handler/pop3)
smtp_sources = $(call sources,smtp-handler/smtp)

OBJ = $(BUILD)/obj
objects = $(1:%.c=$(OBJ)/%.o)
common_objects = $(call objects,$(common_sources))
pop3_objects = $(call objects,$(pop3_sources))
smtp_objects = $(call objects,$(smtp_sources))
pop3_program_objects = $(call objects,$(call sources,pop3-handler))
smtp_program_objects = $(call objects,$(call sources,smtp-handler))
libraries = $(BUILD)/libpop3.a $(BUILD)/libsmtp.a $(BUILD)/libcommon.a

unit_tests = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,\
	$(wildcard tests/unit/test_*.c))
units = $(patsubst units/%.in,$(BUILD)/units/%,\
	$(wildcard units/*.in units/*/*.in)) \
	$(BUILD)/units/pop3-handler-stls@.service \
	$(BUILD)/units/smtp-handler-submission@.service
fuzzers = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
# Examples for other super-servers, a folder each.
unit_files = $(patsubst units/%,%,$(patsubst %.in,%,$(wildcard units/*/*)))
unit_folders = $(sort $(dir $(unit_files)))
man_pages = $(wildcard man/*.[1-9])

.PHONY: all help demo check check-unit bench units install uninstall clean
.DEFAULT_GOAL = all

all: $(BUILD)/pop3-handler $(BUILD)/smtp-handler ## build both programs

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

$(BUILD)/libcommon.a: $(common_objects)
$(BUILD)/libpop3.a: $(pop3_objects)
$(BUILD)/libsmtp.a: $(smtp_objects)
$(libraries):
	$(say) AR $@
	rm -f $@
	$(AR) rcs $@ $^

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

$(BUILD)/tests/unit/%: $(OBJ)/tests/unit/%.o $(libraries)
	@mkdir -p $(@D)
	$(say) LD $@
	$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) -o $@ $< \
	    $(BUILD)/libpop3.a $(BUILD)/libsmtp.a $(BUILD)/libcommon.a \
	    $(LIBS) -lcmocka

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
	@$(MAKE) --no-print-directory all units build-unit-tests build-replays
	@BUILD='$(BUILD)' THUNDERBIRD='$(THUNDERBIRD)' tests/run

.PHONY: build-unit-tests
build-unit-tests: $(unit_tests)

check-unit: $(unit_tests) ## unit tests only
	@BUILD='$(BUILD)' tests/run tests/unit

# Which benchmarks there are: tests/bench/bench.py --help. BENCH names some,
# MILLION=yes adds the one that takes gigabytes, RECORD=yes writes the results
# to tests/bench/RESULTS.md, the plot beside it and README.md.
bench_programs = bare client latency readall
bench: all $(bench_programs:%=$(BUILD)/tests/bench/%) ## measure, beside Dovecot, Courier and Postfix
	@BUILD='$(BUILD)' tests/setup.sh bench
	@BUILD='$(BUILD)' tests/bench/bench.py \
	    $(if $(filter yes,$(RECORD)),--record) \
	    $(if $(filter yes,$(MILLION)),--million) $(BENCH)

$(BUILD)/tests/bench/%: tests/bench/%.c
	$(say) CC $@
	@mkdir -p $(@D)
	$(CC) -std=c17 -D_GNU_SOURCE $(CFLAGS) $(HARDENING) $(HARDENING_LD) \
	    -o $@ $< -ltls

units: $(units) ## fill in the paths in units and samples

# Paths are put into what names the installed programs; other paths, other
# units.
$(BUILD)/units/paths: FORCE
	@mkdir -p $(@D)
	@echo '$(SBINDIR) $(SYSCONFDIR)' | cmp -s - $@ || \
	    echo '$(SBINDIR) $(SYSCONFDIR)' > $@

$(BUILD)/units/%: units/%.in $(BUILD)/units/paths Makefile
	@mkdir -p $(@D)
	@sed -e 's|@SBINDIR@|$(SBINDIR)|g' \
	    -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' $< > $@

# The STARTTLS ports are the same services under other names: a socket with
# Accept=yes starts its own NAME@.service and no other.
$(BUILD)/units/pop3-handler-stls@.service: \
    $(BUILD)/units/pop3-handler@.service
	sed -e '/^ExecStart=/s/$$/ --tls starttls/' \
	    -e 's/POP3S connection/POP3 connection/' \
	    -e 's/pop3-handler\.socket/pop3-handler-stls.socket/' \
	    -e 's/edit pop3-handler@/edit pop3-handler-stls@/' $< > $@

$(BUILD)/units/smtp-handler-submission@.service: \
    $(BUILD)/units/smtp-handler@.service
	sed -e '/^ExecStart=/s/$$/ --tls starttls/' \
	    -e 's/SMTPS connection/SMTP connection/' \
	    -e 's/smtp-handler\.socket/smtp-handler-submission.socket/' \
	    -e 's/edit smtp-handler@/edit smtp-handler-submission@/' $< > $@

# Corpora run through the fuzzers' checks, by any compiler; and the fuzzers
# themselves, which need clang: make fuzz FUZZ=smtp SECONDS=600
.PHONY: build-replays fuzz
build-replays: $(fuzzers:%=$(BUILD)/tests/fuzz/replay_%)

$(BUILD)/tests/fuzz/replay_%: $(OBJ)/tests/fuzz/fuzz_%.o \
    $(OBJ)/tests/fuzz/replay.o $(libraries)
	@mkdir -p $(@D)
	$(say) LD $@
	$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) -o $@ $< \
	    $(OBJ)/tests/fuzz/replay.o $(BUILD)/libpop3.a \
	    $(BUILD)/libsmtp.a $(BUILD)/libcommon.a $(LIBS)

SECONDS ?= 60
fuzz: ## FUZZ=name SECONDS=n: fuzz one module
	$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang \
	    SANITIZE=fuzzer-no-link,address,undefined fuzzer-$(FUZZ)
	mkdir -p $(BUILD)/fuzz/corpus/$(FUZZ) $(BUILD)/fuzz/found
	$(BUILD)/fuzz/fuzz_$(FUZZ) -max_total_time=$(SECONDS) \
	    -artifact_prefix=$(BUILD)/fuzz/found/ \
	    $$(ls tests/fuzz/dict/$(FUZZ).dict 2>/dev/null | \
	    sed 's/^/-dict=/') $(BUILD)/fuzz/corpus/$(FUZZ) \
	    tests/fuzz/corpus/$(FUZZ)

fuzzer-%: $(OBJ)/tests/fuzz/fuzz_%.o $(libraries)
	$(CC) $(CFLAGS) -fsanitize=fuzzer,address,undefined \
	    -o $(BUILD)/fuzz_$* $< $(BUILD)/libpop3.a $(BUILD)/libsmtp.a \
	    $(BUILD)/libcommon.a $(LIBS)
.PRECIOUS: $(OBJ)/%.o

install: all units ## install under DESTDIR and PREFIX
	$(INSTALL) -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR)/man5 \
	    $(DESTDIR)$(MANDIR)/man8 $(DESTDIR)$(UNITDIR) \
	    $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR) \
	    $(DESTDIR)$(CATALOGDIR) $(DESTDIR)$(DOCDIR) \
	    $(DESTDIR)$(SYSCONFDIR)/mail-handlers
	$(INSTALL) -m 755 $(BUILD)/pop3-handler $(BUILD)/smtp-handler \
	    $(DESTDIR)$(SBINDIR)
	$(INSTALL) -m 644 man/*.5 $(DESTDIR)$(MANDIR)/man5
	$(INSTALL) -m 644 man/*.8 $(DESTDIR)$(MANDIR)/man8
	$(INSTALL) -m 644 units/*.socket units/*.slice \
	    $(BUILD)/units/*.service $(DESTDIR)$(UNITDIR)
	$(INSTALL) -m 644 units/mail-handlers.sysusers.conf \
	    $(DESTDIR)$(SYSUSERSDIR)/mail-handlers.conf
	$(INSTALL) -m 644 units/mail-handlers.tmpfiles.conf \
	    $(DESTDIR)$(TMPFILESDIR)/mail-handlers.conf
	$(INSTALL) -m 644 units/mail-handlers.catalog $(DESTDIR)$(CATALOGDIR)
	$(INSTALL) -m 644 README.md LICENSE $(DESTDIR)$(DOCDIR)
	for kind in $(unit_folders); do \
	    $(INSTALL) -d $(DESTDIR)$(DATADIR)/$$kind; done
	for file in inetd.conf $(unit_files); do \
	    from='$(BUILD)/units/'$$file; \
	    [ -e "$$from" ] || from=units/$$file; mode=644; \
	    case $$file in *.run) mode=755 ;; esac; \
	    $(INSTALL) -m $$mode "$$from" $(DESTDIR)$(DATADIR)/$$file; done
	@for sample in pop3-handler.conf smtp-handler.conf; do \
	    file='$(DESTDIR)$(SYSCONFDIR)/mail-handlers/'$$sample; \
	    if [ -e "$$file" ]; then echo "kept $$file"; \
	    else $(INSTALL) -m 644 units/$$sample "$$file"; fi; done

uninstall: ## remove what install put there, but for the configuration
	rm -f $(DESTDIR)$(SBINDIR)/pop3-handler \
	    $(DESTDIR)$(SBINDIR)/smtp-handler
	for page in $(notdir $(man_pages)); do \
	    rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; done
	for unit in $(notdir $(wildcard units/*.socket units/*.slice) \
	    $(patsubst %.in,%,$(wildcard units/*.service.in))); do \
	    rm -f $(DESTDIR)$(UNITDIR)/$$unit; done
	rm -f $(DESTDIR)$(SYSUSERSDIR)/mail-handlers.conf \
	    $(DESTDIR)$(TMPFILESDIR)/mail-handlers.conf \
	    $(DESTDIR)$(CATALOGDIR)/mail-handlers.catalog
	rm -f $(DESTDIR)$(UNITDIR)/pop3-handler-stls@.service \
	    $(DESTDIR)$(UNITDIR)/smtp-handler-submission@.service
	rm -rf $(DESTDIR)$(DOCDIR) $(DESTDIR)$(DATADIR)

clean: ## remove the build directory
	rm -rf $(BUILD)
