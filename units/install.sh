#!/bin/sh
# What "make install" and "make uninstall" do, for the list in the Makefile.
#
#	units/install.sh install|uninstall <LIST
#
# A line of the list: MODE FOLDER FILE[=NAME]...
# FOLDER begins with the name of a variable in the environment, as in
# MANDIR/man8; the files go there, below $DESTDIR, as they are called or as
# NAME. MODE keep: 644, and what is there already stays, at uninstall too. MODE
# link: NAME becomes a symbolic link to FILE, in the same folder.
#
# Folders that had to be made are written down in $DATADIR/folders, for
# uninstall takes away those only, and of those only what is empty.

set -eu

made=$DESTDIR$DATADIR/folders

# path FOLDER: where that is.
path() {
	variable=${1%%/*}
	eval "start=\$$variable"
	printf '%s%s%s\n' "$DESTDIR" "$start" "${1#"$variable"}"
}

# The folder and what is above it, where it is not there; the names of those
# that were made, the innermost first.
make_folder() {
	[ ! -d "$1" ] || return 0
	missing=
	above=$1
	while [ ! -d "$above" ]; do
		missing="$missing$above
"
		above=$(dirname "$above")
	done
	"${INSTALL:-install}" -d "$1"
	printf %s "$missing"
}

install_files() {
	fresh=$(make_folder "$DESTDIR$DATADIR")
	[ -z "$fresh" ] || printf '%s\n' "$fresh" >>"$made"
	while read -r mode folder files; do
		folder=$(path "$folder")
		make_folder "$folder" >>"$made"
		for file in $files; do
			target=$folder/$(basename "${file#*=}")
			if [ "$mode" = link ]; then
				ln -sf "${file%%=*}" "$target"
			elif [ "$mode" != keep ]; then
				"${INSTALL:-install}" -m "$mode" \
				    "${file%%=*}" "$target"
			elif [ -e "$target" ]; then
				echo "kept $target"
			else
				"${INSTALL:-install}" -m 644 \
				    "${file%%=*}" "$target"
			fi
		done
	done
	[ -s "$made" ] || rm -f "$made"
}

uninstall_files() {
	while read -r mode folder files; do
		[ "$mode" != keep ] || continue
		for file in $files; do
			rm -f "$(path "$folder")/$(basename "${file#*=}")"
		done
	done
	[ -e "$made" ] || return 0
	# The deepest first: a name comes behind those that begin with it
	folders=$(sort -ru "$made")
	rm -f "$made"
	printf '%s\n' "$folders" | while IFS= read -r folder; do
		rmdir "$folder" 2>/dev/null || :
	done
}

case ${1-} in
install) install_files ;;
uninstall) uninstall_files ;;
*) echo "usage: $0 install|uninstall <LIST" >&2; exit 64 ;;
esac
