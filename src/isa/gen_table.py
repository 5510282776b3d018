#!/usr/bin/env python3
"""Compiles the opcode table: table/*.tab into C. usage: gen_table.py OUT.c MNEMONICS.h FEATURES.h TABLE...

A row of the table is

    encoding | mnemonic | operands ; implicit operands | flags and attributes

encoding: as in the manuals. In order, where needed:
    i64 only64         not in 64-bit mode; only there
    o16 o32 o64        with this operand size; a16 a32 a64: address size; joined by / where several
    rexb=0 rexb=1      with this REX.B
    NP 66 F3 F2        prefix, which then does not change the size. Without one any prefix may come.
    VEX.L.P.MAP.W      L: L0 L1 LIG, or nothing for both; P: NP 66 F3 F2; W: W0 W1, or nothing for both. EVEX alike, with
                       the lengths 256/512 and 512; W0 may be W0*: outside 64-bit mode W does not matter
    0F 38 F0           the opcode; the last byte can be XX+r: the low three bits are a register
    /r /0 … /7         ModRM follows: any, or this digit; :m memory only, :r register only
    C0+i, C1           ModRM is one of C0 to C7; ModRM is this byte
  Where several rows fit, the one that asks for most is taken.
operands: [?][=+]METHOD TYPE {decorations}; = written, + read and written, neither: read, ? perhaps. Methods and types: x86.h
flags: W:LETTERS, where W is r read, w written, m perhaps written, 0 cleared, 1 set, u undefined; the letters are cpazstido,
    l IOPL, n NT, r RF, v VM, k AC, f VIF, q VIP, x ID, * all. fw: f0: fu: the x87 condition codes, by number.
attributes: x86.h, X86_ROW_…; feat=, class=: other than @feature and @class, which hold for the rows that follow.

Two rows that claim the same bytes, a name that is in no list, a word that is not known: each is an error."""

import re
import sys

FLAGS = {'c': 'CF', 'p': 'PF', 'a': 'AF', 'z': 'ZF', 's': 'SF', 't': 'TF', 'i': 'IF', 'd': 'DF', 'o': 'OF', 'l': 'IOPL', 'n': 'NT',
         'r': 'RF', 'v': 'VM', 'k': 'AC', 'f': 'VIF', 'q': 'VIP', 'x': 'ID'}
FLAG_ALIASES = {'arith': 'w:oszapc', 'logic': 'w:szp 0:oc u:a', 'intf': 'r:vl w:invkf 0:tr'}

FIXED = {  # operands that the opcode implies
    'AL': 'AX b', 'CL': 'CX b', 'AX': 'AX w', 'CX': 'CX w', 'DX': 'DX w', 'BX': 'BX w', 'SP': 'SP w', 'BP': 'BP w', 'SI': 'SI w',
    'DI': 'DI w', 'AH': 'AH b', 'R11': 'R11 q', '1': 'ONE b', 'push': 'PUSH s1', 'push2': 'PUSH s2', 'push8': 'PUSH s8',
    'pop': 'POP s1', 'pop2': 'POP s2', 'pop3': 'POP s3', 'pop8': 'POP s8', 'leave': 'LEAVE s1', 'Mxlat': 'XLAT b',
    'Zmaskq': 'MASKMOV q', 'Zmaskx': 'MASKMOV x', 'es64': 'ESREG n64', 'ST0': 'ST0 t', 'ST1': 'ST1 t', 'STi': 'STI t',
    'XMM0': 'XMM0 dq', 'rIP': 'IP v', 'CR0': 'CR0 m', 'XCR0': 'XCR0 q', 'MXCSR': 'MXCSR d', 'SSP': 'SSP q', 'M': 'M NONE',
    'Ib2': 'I2 b', 'M64': 'M n64', 'M512': 'M n512'}
for name in 'AX CX DX BX SP BP SI DI'.split():
    FIXED.update({'E' + name: name + ' d', 'R' + name: name + ' q', 'r' + name: name + ' v', 'e' + name: name + ' z',
                  'y' + name: name + ' y', 'a' + name: name + ' a', 'm' + name: name + ' m', 's' + name: name + ' s1'})
for name in 'ES CS SS DS FS GS'.split():
    FIXED[name] = 'SREG_' + name + ' w'

METHOD = re.compile(r'(KG|KP|KE|KU|KH|MV|H4|[ERMGBSCDPQNVWUHLZIJAOXY])([a-z0-9]*)$')
ATTRIBUTES = {'lock': 'LOCK', 'autolock': 'AUTOLOCK', 'rep': 'REP', 'repz': 'REPZ', 'd64': 'D64', 'f64': 'F64', 'priv': 'PRIV',
              'iopl': 'IOPL', 'prot': 'PROT', 'umip': 'UMIP', 'tsd': 'TSD', 'io': 'IO', 'jmp': 'JMP', 'jcc': 'JCC', 'call': 'CALL',
              'ret': 'RET', 'int': 'INT', 'far': 'FAR', 'sregload': 'SREGLOAD', 'bitoff': 'BITOFF', 'noaccess': 'NOACCESS',
              'hint': 'HINT', 'al': 'ALIGN', 'gather': 'GATHER', 'scatter': 'SCATTER', 'distinct': 'DISTINCT', 'push': 'PUSH',
              'pop': 'POP', 'pop2': 'POP2', 'modreg': 'MODREG', 'avx128': 'AVX128'}

# What can tell rows apart, in the order in which the decoder asks: name, number of answers. x86_decode.c has the same list.
SELECTORS = [('MODE', 2), ('PREFIX', 4), ('MOD', 2), ('REG', 8), ('RM', 8), ('W', 2), ('VL', 4), ('OPSIZE', 3), ('OPSIZE64', 3),
             ('ADSIZE', 3), ('REXB', 2)]
MAPS = {'': '1', '0F': '0F', '0F 38': '0F38', '0F 3A': '0F3A', 'VEX.0F': 'VEX_0F', 'VEX.0F38': 'VEX_0F38', 'VEX.0F3A': 'VEX_0F3A',
        'EVEX.0F': 'EVEX_0F', 'EVEX.0F38': 'EVEX_0F38', 'EVEX.0F3A': 'EVEX_0F3A', 'EVEX.M5': 'EVEX_5', 'EVEX.M6': 'EVEX_6'}
PREFIXES = ['NP', '66', 'F3', 'F2']


class TableError(Exception):
    pass


def sizes(word, letter):
    """The answers that "o16/o32" allows; None when the word says nothing about sizes."""
    found = re.fullmatch(rf'{letter}(16|32|64)(?:/{letter}(16|32|64))?', word)
    return found and {(16, 32, 64).index(int(size)) for size in found.groups() if size}


class Row:
    """One line of the table."""

    def __init__(self, line, feature, unit):
        columns = [column.strip() for column in line.split('|')]
        if not 2 <= len(columns) <= 4:
            raise TableError('a row has 2 to 4 columns')
        encoding, self.mnemonic, operands, notes = columns + [''] * (4 - len(columns))
        self.encoding, self.feature, self.unit = encoding, feature, unit
        self.asks = {}  # selector: answers that are allowed
        self.modrm, self.unaligned = False, False
        self.attributes, self.evex, self.flags = [], [], {}
        self.element_bytes, self.broadcast, self.any_w_outside = 0, False, False
        self.parse_notes(notes.split())
        self.parse_encoding(encoding.split())
        explicit, _, implicit = operands.partition(';')
        self.operands = [self.operand(word) for word in explicit.split()]
        self.implicit = [self.operand(word) for word in implicit.split()]
        self.finish()

    def parse_encoding(self, words):
        space, opcode = '', []
        for word in words:
            if word in ('i64', 'only64'):
                self.asks['MODE'] = {int(word == 'only64')}
            elif word.startswith('rexb='):
                self.asks['REXB'] = {int(word[5:])}
            elif sizes(word, 'o'):
                self.asks['OPSIZE64' if {'D64', 'F64'} & set(self.attributes) else 'OPSIZE'] = sizes(word, 'o')
            elif sizes(word, 'a'):
                self.asks['ADSIZE'] = sizes(word, 'a')
            elif not opcode and not space and all(w in PREFIXES for w in word.split('/')):
                self.asks['PREFIX'] = {PREFIXES.index(w) for w in word.split('/')}
            elif word.startswith(('VEX.', 'EVEX.')):
                space = self.parse_vex(word)
            elif re.fullmatch(r'/[r0-7](:[rm])?', word):
                self.modrm = True
                if word[1] != 'r':
                    self.asks['REG'] = {int(word[1])}
                if word[2:]:
                    self.asks['MOD'] = {int(word[3] == 'r')}
            elif re.fullmatch(r'[0-9A-F]{2}(\+[ri])?', word):
                opcode.append(word)
            else:
                raise TableError(f"'{word}' is no part of an encoding")
        self.place(space, opcode)

    def parse_vex(self, word):
        space, *parts = word.split('.')
        place = ''
        for part in parts:
            if part in PREFIXES:
                self.asks['PREFIX'] = {PREFIXES.index(part)}
            elif part in ('W0', 'W1', 'W0*'):
                self.asks['W'] = {int(part[1])}
                self.any_w_outside = part == 'W0*'
            elif part in ('L0', 'L1', '512', '256/512'):
                self.asks['VL'] = {'L0': {0}, 'L1': {1}, '512': {2}, '256/512': {1, 2}}[part]
            elif f'{space}.{part}' in MAPS:
                place = f'{space}.{part}'
            elif part == 'LIG':
                self.asks['VL'] = {0, 1, 2, 3}
            else:
                raise TableError(f"'{part}' is no part of {space}")
        self.asks.setdefault('VL', {0, 1, 2} if space == 'EVEX' else {0, 1})
        return place

    def place(self, space, opcode):
        """Map, opcode bytes and what is left of the bytes, which is a ModRM byte."""
        if not space:
            while opcode[:1] == ['0F'] and not space or space == '0F' and opcode[0] in ('38', '3A') and len(opcode) > 1:
                space = f'{space} {opcode.pop(0)}'.strip()
        self.map = MAPS[space]
        first, *rest = opcode
        self.opcode = int(first[:2], 16)
        self.opcodes = range(self.opcode, self.opcode + (8 if first.endswith('+r') else 1))
        if rest:
            modrm = int(rest[0][:2], 16)
            if len(rest) > 1 or modrm < 0xc0:
                raise TableError('a ModRM byte is C0 to FF, and the last')
            self.modrm = True
            self.asks.update({'MOD': {1}, 'REG': {modrm >> 3 & 7}})
            if not rest[0].endswith('+i'):
                self.asks['RM'] = {modrm & 7}

    def parse_notes(self, words):
        for word in ' '.join(FLAG_ALIASES.get(word, word) for word in words).split():
            kind, colon, letters = word.partition(':')
            if colon and kind in ('fw', 'f0', 'fu'):
                self.flags[kind] = self.flags.get(kind, set()) | set(letters)
            elif colon:
                names = FLAGS.values() if letters == '*' else [FLAGS[letter] for letter in letters]
                self.flags[kind] = self.flags.get(kind, set()) | set(names)
            elif word.startswith('feat='):
                self.feature = word[5:]
            elif word.startswith('class='):
                self.unit = word[6:]
            elif word.startswith('disp'):
                self.element_bytes = int(word[4:]) // 8
            elif word == 'ua':
                self.unaligned = True
            elif word == 'blend':
                self.evex.append('BLEND')
            elif word in ATTRIBUTES:
                self.attributes.append(ATTRIBUTES[word])
            else:
                raise TableError(f"'{word}' is no flag and no attribute")

    def operand(self, word):
        found = re.fullmatch(r'(\??)([=+]?)(\w+)((?:\{\w+\*?\})*)', word)
        if not found:
            raise TableError(f"'{word}' is no operand")
        perhaps, how, what, decorations = found.groups()
        access = {'': ['READ'], '=': ['WRITE'], '+': ['READ', 'WRITE']}[how]
        if perhaps:  # the condition is about the write, or about the only thing that happens
            access = [name if name == 'READ' and len(access) > 1 else 'COND_' + name for name in access]
        for decoration in re.findall(r'\{(.*?)\}', decorations):
            self.decorate(decoration)
        if what in FIXED:
            method, kind = FIXED[what].split()
        else:
            matched = METHOD.match(what)
            if not matched:
                raise TableError(f"'{what}' is no operand")
            method, kind = matched.groups()
        if method == 'M' and what == 'M':
            kind = 'NONE'
        if method == 'MV':
            self.element_bytes = 4 if kind == 'xd' else 8
        return method, kind or 'NONE', access

    def decorate(self, decoration):
        if decoration in ('k', 'kz'):
            self.evex += ['K'] + ['Z'] * (decoration == 'kz')
        elif re.fullmatch(r'b\d+', decoration):
            self.element_bytes, self.broadcast = int(decoration[1:]) // 8, True
        elif decoration in ('er', 'sae', 'er*'):
            self.evex.append({'er*': 'ERNOP'}.get(decoration, decoration.upper()))
        else:
            raise TableError(f"'{{{decoration}}}' is no decoration")

    def finish(self):
        """What follows from the whole row."""
        if self.modrm:
            self.attributes.append('MODRM')
        if self.map.startswith('EVEX') and {'GATHER', 'SCATTER'} & set(self.attributes):
            self.evex.append('KMUST')
        memory = [kind for method, kind, _ in self.operands if method in 'MW']
        if self.unit == 'sse' and not self.unaligned and self.map in ('0F', '0F38', '0F3A') and 'x' in memory:
            self.attributes.append('ALIGN')
        self.imm = []
        for method, kind, _ in self.operands:
            self.imm += {'I': [kind], 'J': ['bs' if kind == 'b' else kind], 'I2': ['b'], 'L': ['b'], 'O': ['a'], 'A': ['p']}.get(method, [])
        self.imm += ['NONE'] * (2 - len(self.imm))

    def claims(self):
        """What the row asks for, as (asks, row); two of them where that depends on the mode."""
        if self.any_w_outside:
            return [({**self.asks, 'MODE': {1}}, self), ({name: a for name, a in self.asks.items() if name != 'W'} | {'MODE': {0}}, self)]
        return [(self.asks, self)]


def read_tables(paths):
    rows = []
    for path in paths:
        feature, unit = 'base', 'int'
        with open(path, encoding='utf-8') as f:
            for number, line in enumerate(f, 1):
                line = line.split('#')[0].strip()
                try:
                    if line.startswith('@feature '):
                        feature = line.split()[1]
                    elif line.startswith('@class '):
                        unit = line.split()[1]
                    elif line:
                        rows.append(Row(line, feature, unit))
                        rows[-1].where = f'{path}:{number}'
                except (TableError, KeyError) as e:
                    sys.exit(f'{path}:{number}: {e}')
    return rows


class Tree:
    """The decoder's questions. A node is [selector, answer 0, answer 1, …]; an answer with the bit NODE is a node, else a row; 0 is none."""

    NODE = 0x8000

    def __init__(self):
        self.nodes, self.known = [], {}

    def build(self, claims, numbers, selectors=tuple(SELECTORS)):
        if not claims:
            return 0
        for i, (name, answers) in enumerate(selectors):
            if any(name in asks for asks, _ in claims):
                children = tuple(self.build([claim for claim in claims if answer in claim[0].get(name, (answer,))], numbers, selectors[i + 1:])
                                 for answer in range(answers))
                return children[0] if len(set(children)) == 1 else self.node(name, children)
        weights = [len(set(asks) - {'VL'}) for asks, _ in claims]
        winners = [row for (_, row), weight in zip(claims, weights) if weight == max(weights)]
        if len(winners) > 1:
            sys.exit('\n'.join(f'{row.where}: claims the same bytes: {row.encoding} {row.mnemonic}' for row in winners))
        return numbers[winners[0]]

    def node(self, name, children):
        key = (name, children)
        if key not in self.known:
            self.known[key] = self.NODE | len(self.nodes)
            self.nodes += [[s for s, _ in SELECTORS].index(name), *children]
        return self.known[key]


def listed(path, macro):
    """{text: C name} of the entries of a header that is a table for macros."""
    with open(path, encoding='utf-8') as f:
        return {text or name: name for name, text in re.findall(rf'^{macro}\((\w+)(?:, *"([^"]*)")?', f.read(), re.M)}


def spec(operand):
    method, kind, access = operand
    return f'{{X86_OP_{method}, X86_TY_{kind}, ' + ' | '.join('X86_' + name for name in access) + '}'


def either(prefix, names):
    return ' | '.join(prefix + name for name in names) or '0'


class Pool:
    """Things that many rows share, each once."""

    def __init__(self):
        self.entries = []

    def place(self, wanted):
        """Where these entries stand in a row; appended if nowhere."""
        for start in range(len(self.entries) - len(wanted) + 1):
            if self.entries[start:start + len(wanted)] == wanted:
                return start
        self.entries += wanted
        return len(self.entries) - len(wanted)


def flag_set(flags):
    def bits(*kinds):
        return either('X86_FLAG_', sorted(set().union(*(flags.get(kind, set()) for kind in kinds))))

    def codes(*kinds):
        return sum(1 << int(code) for code in set().union(*(flags.get(kind, set()) for kind in kinds)))
    return (f'{{{bits("r")}, {bits("w", "m", "0", "1")}, {bits("0")}, {bits("1")}, {bits("u")}, {bits("m")}, '
            f'{codes("fw", "f0")}, {codes("f0")}, {codes("fu")}}}')


def write(path, rows, features):
    tree, implicit, flag_sets = Tree(), Pool(), Pool()
    numbers = {row: number for number, row in enumerate(rows, 1)}
    places = {}
    for row in rows:
        for opcode in row.opcodes:
            places.setdefault((row.map, opcode), []).extend(row.claims())
    flag_sets.place([flag_set({})])
    with open(path, 'w', encoding='utf-8') as f:
        f.write('/* Made by gen_table.py from table/. */\n#include "isa/x86_int.h"\n\nconst struct x86_row x86_rows[] = {\n')
        for row, number in numbers.items():
            operands = ', '.join(spec(operand) for operand in row.operands)
            f.write(f'[{number}] = {{X86_{row.mnemonic}, X86_FEATURE_{features[row.feature]}, X86_CLASS_{row.unit.upper()}, '
                    f'X86_MAP_{row.map}, 0x{row.opcode:02x}, {either("X86_EVEX_", row.evex)}, {row.element_bytes}, '
                    f'{either("X86_ROW_", row.attributes)}, {{X86_TY_{row.imm[0]}, X86_TY_{row.imm[1]}}}, '
                    f'{flag_sets.place([flag_set(row.flags)])}, {len(row.operands)}, {implicit.place([spec(o) for o in row.implicit])}, '
                    f'{len(row.implicit)}, {int(row.broadcast)}, {{{operands}}}}}, /* {row.encoding} */\n')
        f.write(f'}};\nconst size_t x86_row_count = {len(rows) + 1};\n\nconst char *const x86_row_encodings[] = {{"(none)",\n')
        f.writelines(f'"{row.encoding}",\n' for row in rows)
        f.write('};\n\nconst struct x86_flags x86_flag_sets[] = {\n' + ',\n'.join(flag_sets.entries))
        f.write('};\n\nconst struct x86_opspec x86_implicit[] = {\n' + ',\n'.join(implicit.entries))
        f.write('};\n\nconst uint16_t x86_roots[X86_MAP_COUNT][256] = {\n')
        for place in MAPS.values():
            roots = {opcode: tree.build(places[place, opcode], numbers) for opcode in range(256) if (place, opcode) in places}
            f.write(f'[X86_MAP_{place}] = {{' + ', '.join(f'[0x{opcode:02x}] = {root}' for opcode, root in roots.items()) + '},\n')
        f.write('};\n\nconst uint16_t x86_nodes[] = {' + ', '.join(map(str, tree.nodes)) + '};\n')


def main(out, mnemonics_h, features_h, *tables):
    rows = read_tables(tables)
    features, mnemonics = listed(features_h, 'X86_FEATURE'), listed(mnemonics_h, 'X86_MNEMONIC')
    used = {row.mnemonic for row in rows}
    if used != set(mnemonics):
        sys.exit(f'{mnemonics_h}: lacks {sorted(used - set(mnemonics))}, has too much {sorted(set(mnemonics) - used)}')
    for row in rows:
        if row.feature not in features:
            sys.exit(f"{row.where}: feature '{row.feature}' is not in {features_h}")
        if len(row.operands) > 4 or len([kind for kind in row.imm if kind != 'NONE']) > 2:
            sys.exit(f'{row.where}: too many operands')
    write(out, rows, features)


if __name__ == '__main__':
    main(*sys.argv[1:])
