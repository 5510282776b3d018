/* Completion scripts. They hold no knowledge of the commands: they ask `PROGRAM __complete` at each
 * TAB. */
#include "cmd/cli.h"

#include "base/str.h"

#include <stdio.h>

/* readline replaces only what follows the last '=' or ':' of the word (COMP_WORDBREAKS), so that
 * much is cut off. */
static const char bash_script[] =
    "# bash completion for NAME; it asks the program itself.\n"
    "_NAME_complete()\n"
    "{\n"
    "\tlocal cur cword line head=\n"
    "\tlocal -a words\n"
    "\n"
    "\tif declare -F _get_comp_words_by_ref >/dev/null; then\n"
    "\t\t_get_comp_words_by_ref -n =: cur words cword\n"
    "\telse\n"
    "\t\twords=(\"${COMP_WORDS[@]}\") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}\n"
    "\tfi\n"
    "\tcase $cur in\n"
    "\t*[=:]*) [[ $COMP_WORDBREAKS == *[=:]* ]] && head=${cur%\"${cur##*[=:]}\"} ;;\n"
    "\tesac\n"
    "\tCOMPREPLY=()\n"
    "\twhile IFS= read -r line; do\n"
    "\t\tcase $line in\n"
    "\t\t:file | :dir)\n"
    "\t\t\tcompopt -o filenames 2>/dev/null\n"
    "\t\t\tlocal kind=-f\n"
    "\t\t\t[[ $line == :dir ]] && kind=-d\n"
    "\t\t\twhile IFS= read -r line; do\n"
    "\t\t\t\tCOMPREPLY+=(\"$line\")\n"
    "\t\t\tdone < <(compgen $kind -- \"${cur#\"$head\"}\")\n"
    "\t\t\t;;\n"
    "\t\t*)\n"
    "\t\t\tline=${line%%$'\\t'*}\n"
    "\t\t\tCOMPREPLY+=(\"${line#\"$head\"}\")\n"
    "\t\t\t;;\n"
    "\t\tesac\n"
    "\tdone < <(\"${words[0]/#\\~/$HOME}\" __complete \"${words[@]:1:cword}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _NAME_complete NAME\n";

static const char zsh_script[] =
    "#compdef NAME\n"
    "compdef _NAME NAME\n"
    "# zsh completion for NAME; it asks the program itself.\n"
    "_NAME()\n"
    "{\n"
    "\tlocal line name\n"
    "\tlocal -a names\n"
    "\n"
    "\tfor line in \"${(@f)$(\"${(Q)words[1]/#\\~/$HOME}\" __complete \"${(@Q)words[2,CURRENT]}\" "
    "2>/dev/null)}\"; do\n"
    "\t\tcase $line in\n"
    "\t\t('') ;;\n"
    "\t\t(:file) compset -P '*='; _files ;;\n"
    "\t\t(:dir) compset -P '*='; _files -/ ;;\n"
    "\t\t(*)\n"
    "\t\t\tname=${line%%$'\\t'*}\n"
    "\t\t\tnames+=(\"${name//:/\\\\:}${${line#\"$name\"}/$'\\t'/:}\")\n"
    "\t\t\t;;\n"
    "\t\tesac\n"
    "\tdone\n"
    "\t(( $#names )) && _describe NAME names\n"
    "}\n"
    "[ \"$funcstack[1]\" = _NAME ] && _NAME || true\n";

/* NAME in the scripts above stands for the program's. */
void cli_print_completion(const struct cli_program *p, const char *shell)
{
	const char *s = str_eq(shell, "zsh") ? zsh_script : bash_script;

	for (const char *next; (next = strstr(s, "NAME")); s = next + strlen("NAME"))
		printf("%.*s%s", (int)(next - s), s, p->name);
	fputs(s, stdout);
}
