//go:build linux

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// A mutant is one small change of one condition.
type mutant struct {
	id   int
	key  string // the file, the function, and what becomes what: the same while only other lines change
	line int
}

// opposite and border are what becomes of a comparison.
var (
	opposite = map[token.Token]token.Token{token.EQL: token.NEQ, token.NEQ: token.EQL, token.LSS: token.GEQ, token.GEQ: token.LSS, token.GTR: token.LEQ, token.LEQ: token.GTR}
	border   = map[token.Token]token.Token{token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR}
)

// A planter writes all mutants of a package into its code at once, each behind a question
// whether it is the one that is meant: so a package is compiled once and not once for each.
type planter struct {
	set      *token.FileSet
	name     string // of the file, below the module's root
	src      string
	function string
	before   map[int]string // to be inserted at an offset
	after    map[int]string
	seen     map[string]int
	inner    map[*ast.BinaryExpr]bool // parts of a longer chain
	first    int
	mutants  []mutant
}

// plant returns the file's text with the mutants in it, which are numbered from first.
func plant(name, src string, first int) (string, []mutant, error) {
	p := &planter{set: token.NewFileSet(), name: name, src: src, before: map[int]string{}, after: map[int]string{}, seen: map[string]int{}, inner: map[*ast.BinaryExpr]bool{}, first: first}
	file, err := parser.ParseFile(p.set, name, src, parser.SkipObjectResolution)
	if err != nil {
		return "", nil, err
	}
	for _, d := range file.Decls {
		p.function = "var"
		switch d := d.(type) {
		case *ast.GenDecl:
			if d.Tok != token.VAR {
				continue
			}
		case *ast.FuncDecl:
			p.function = d.Name.Name
			if d.Recv != nil {
				p.function = strings.TrimLeft(p.text(d.Recv.List[0].Type), "*") + "." + d.Name.Name
			}
		}
		ast.Inspect(d, func(n ast.Node) bool { return p.visit(n) })
	}
	if len(p.mutants) == 0 {
		return src, nil, nil
	}
	var b strings.Builder
	last := 0
	for at := range len(src) + 1 {
		if p.before[at]+p.after[at] != "" {
			b.WriteString(src[last:at] + p.after[at] + p.before[at])
			last = at
		}
	}
	return b.String() + src[last:], p.mutants, nil
}

func (p *planter) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if _, ok := opposite[n.Op]; ok {
			p.compare(n)
		}
	case *ast.IfStmt:
		p.condition(n.Cond)
	case *ast.ForStmt:
		p.condition(n.Cond)
	case *ast.SwitchStmt:
		for _, c := range n.Body.List {
			for _, e := range c.(*ast.CaseClause).List {
				if n.Tag == nil {
					p.condition(e)
				}
			}
		}
	case *ast.ArrayType:
		return false // its length is a constant
	case *ast.GenDecl:
		return n.Tok != token.CONST
	}
	if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.LAND || b.Op == token.LOR) {
		p.operands(b)
	}
	return true
}

// compare plants the opposite of a comparison, and its other border if it has one.
func (p *planter) compare(n *ast.BinaryExpr) {
	left, right := p.text(n.X), p.text(n.Y)
	old := fmt.Sprintf("%s %s %s", left, n.Op, right)
	id := p.add(n, old, fmt.Sprintf("%s %s %s", left, opposite[n.Op], right))
	p.wrap(n, fmt.Sprintf("(mutantIs(%d) != (", id), "))")
	if op, ok := border[n.Op]; ok {
		id := p.add(n, old, fmt.Sprintf("%s %s %s", left, op, right))
		p.wrap(n, fmt.Sprintf("func() bool { if mutantIs(%d) { return %s %s %s }; return ", id, left, op, right), "}()")
	}
}

// operands plants the loss of each operand of a chain of the same operator.
func (p *planter) operands(n *ast.BinaryExpr) {
	if p.inner[n] {
		return
	}
	for _, e := range p.chain(n, n.Op) {
		id := p.add(e, p.text(n), "without "+p.text(e))
		if n.Op == token.LAND {
			p.wrap(e, fmt.Sprintf("(mutantIs(%d) || (", id), "))")
		} else {
			p.wrap(e, fmt.Sprintf("(!mutantIs(%d) && (", id), "))")
		}
	}
}

// chain returns the operands of a && b && c, or of a || b || c.
func (p *planter) chain(e ast.Expr, op token.Token) []ast.Expr {
	n, ok := e.(*ast.BinaryExpr)
	if !ok || n.Op != op {
		return []ast.Expr{e}
	}
	p.inner[n] = true
	return append(p.chain(n.X, op), p.chain(n.Y, op)...)
}

// condition plants the opposite of a condition that is neither a comparison nor a chain.
func (p *planter) condition(e ast.Expr) {
	switch n := e.(type) {
	case nil:
	case *ast.ParenExpr:
		p.condition(n.X)
	case *ast.BinaryExpr:
	default:
		id := p.add(e, p.text(e), "not "+p.text(e))
		p.wrap(e, fmt.Sprintf("(mutantIs(%d) != (", id), "))")
	}
}

func (p *planter) add(n ast.Node, old, changed string) int {
	key := fmt.Sprintf("%s %s: %s => %s", p.name, p.function, old, changed)
	key = strings.Join(strings.Fields(key), " ")
	p.seen[key]++
	if times := p.seen[key]; times > 1 {
		key += fmt.Sprintf(" (%d)", times)
	}
	id := p.first + len(p.mutants)
	p.mutants = append(p.mutants, mutant{id: id, key: key, line: p.set.Position(n.Pos()).Line})
	return id
}

// wrap puts text around an expression. What is outside is planted before what is inside.
func (p *planter) wrap(n ast.Node, before, after string) {
	from, to := p.set.Position(n.Pos()).Offset, p.set.Position(n.End()).Offset
	p.before[from] += before
	p.after[to] = after + p.after[to]
}

func (p *planter) text(n ast.Node) string {
	return p.src[p.set.Position(n.Pos()).Offset:p.set.Position(n.End()).Offset]
}
