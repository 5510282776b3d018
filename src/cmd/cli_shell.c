/* Completion scripts. They hold no knowledge of the commands: they ask `PROGRAM __complete` at each
 * TAB. */
#include "cmd/cli.h"

#include "base/str.h"

#include <stdio.h>

/* bash hands words over that are divided at '=' and ':' too (COMP_WORDBREAKS): they are joined
 * again, and what readline takes to be there already is cut off each candidate. */
static const char bash_script[] =
    "# bash completion for NAME; it asks the program itself.\n"
    "_NAME_complete()\n"
    "{\n"
    "\tlocal line cur head= glue= i\n"
    "\tlocal -a words=()\n"
    "\n"
    "\tfor ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "\t\tline=${COMP_WORDS[i]}\n"
    "\t\tif ((i > 1)) && [[ $glue || $line == [=:] ]]; then\n"
    "\t\t\twords[-1]+=$line\n"
    "\t\telse\n"
    "\t\t\twords+=(\"$line\")\n"
    "\t\tfi\n"
    "\t\tglue=\n"
    "\t\t[[ $line == [=:] ]] && glue=1\n"
    "\tdone\n"
    "\tcur=${words[-1]}\n"
    "\t[[ $cur == *[=:]* && $COMP_WORDBREAKS == *[=:]* ]] && head=${cur%\"${cur##*[=:]}\"}\n"
    "\tCOMPREPLY=()\n"
    "\twhile IFS= read -r line; do\n"
    "\t\tcase $line in\n"
    "\t\t:file | :dir)\n"
    "\t\t\tcompopt -o filenames 2>/dev/null\n"
    "\t\t\ti=-f\n"
    "\t\t\t[[ $line == :dir ]] && i=-d\n"
    "\t\t\twhile IFS= read -r line; do\n"
    "\t\t\t\tCOMPREPLY+=(\"$line\")\n"
    "\t\t\tdone < <(compgen $i -- \"${cur#\"$head\"}\")\n"
    "\t\t\t;;\n"
    "\t\t*)\n"
    "\t\t\tline=${line%%$'\\t'*}\n"
    "\t\t\tCOMPREPLY+=(\"${line#\"$head\"}\")\n"
    "\t\t\t;;\n"
    "\t\tesac\n"
    "\tdone < <(\"${words[0]/#\\~/$HOME}\" __complete \"${words[@]:1}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _NAME_complete NAME\n";

static const char zsh_script[] =
    "#compdef NAME\n"
    "compdef _NAME NAME\n"
    "# zsh completion for NAME; it asks the program itself.\n"
    "_NAME()\n"
    "{\n"
    "\tlocal line name head=\n"
    "\tlocal -a lines names\n"
    "\n"
    "\tlines=(\"${(@f)$(\"${(Q)words[1]/#\\~/$HOME}\" __complete \"${(@Q)words[2,CURRENT]}\" "
    "2>/dev/null)}\")\n"
    "\t# of '--flag=value' only the value is completed\n"
    "\t[[ $PREFIX == --*=* ]] && head=${PREFIX%%=*}= && compset -P '*='\n"
    "\tfor line in $lines; do\n"
    "\t\tcase $line in\n"
    "\t\t(:file) _files ;;\n"
    "\t\t(:dir) _files -/ ;;\n"
    "\t\t(*)\n"
    "\t\t\tname=${line%%$'\\t'*}\n"
    "\t\t\tline=${line#\"$name\"}\n"
    "\t\t\tname=${name#\"$head\"}\n"
    "\t\t\tnames+=(\"${name//:/\\\\:}${line/$'\\t'/:}\")\n"
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
