package docs

import (
	"os"
	"regexp"
	"strings"
)

// A page is what a page shows.
type page struct {
	commands []string // that stand in blocks, one after the other, without comments
	named    []string // that stand within a sentence
	blocks   []string // in the languages of checkedElsewhere
}

// checkedElsewhere are the languages of blocks that other tests compile or read.
var checkedElsewhere = map[string]bool{"go": true, "yaml": true, "json": true, "haproxy": true, "dockerfile": true, "nats": true}

// a command within a sentence begins like this.
var inline = regexp.MustCompile(`^([A-Z]+=\S+ )?(understudy|make|etcdctl|psql|consul|go [a-z]+) [^-\s]`)

// readPage finds every block and every command of a page. Each line of a block that no other
// test reads is taken for a command, so that nothing is overlooked.
func readPage(path string) (page, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return page{}, err
	}
	return parsePage(string(text)), nil
}

func parsePage(text string) page {
	p := page{}
	var prose, block strings.Builder
	language, fenced, indented := "", false, false
	end := func() {
		if block.Len() > 0 && checkedElsewhere[language] {
			p.blocks = append(p.blocks, block.String())
		} else {
			p.commands = append(p.commands, commandsOf(block.String())...)
		}
		block.Reset()
		language, fenced, indented = "", false, false
	}
	before := ""
	for line := range strings.SplitSeq(text, "\n") {
		code, isIndented := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced || indented {
				isFence := fenced
				end()
				if isFence {
					break
				}
			}
			fenced, language = true, strings.TrimSpace(strings.TrimPrefix(line, "```"))
		case fenced:
			block.WriteString(line + "\n")
		case isIndented && (indented || before == ""):
			indented = true
			block.WriteString(code + "\n")
		default:
			if indented {
				end()
			}
			prose.WriteString(line + "\n")
		}
		before = strings.TrimSpace(line)
	}
	end()
	for paragraph := range strings.SplitSeq(prose.String(), "\n\n") {
		for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(paragraph, -1) {
			if command := strings.Join(strings.Fields(span[1]), " "); inline.MatchString(command) {
				p.named = append(p.named, command)
			}
		}
	}
	return p
}

// block is the one that holds text, if one alone does.
func (p page) block(text string) (found string, ok bool) {
	for _, b := range p.blocks {
		if strings.Contains(b, text) {
			found, ok = b, found == ""
		}
	}
	return found, ok
}

// commandsOf are the lines of a block, without comments; one that ends in a backslash goes on
// in the next.
func commandsOf(block string) (all []string) {
	block = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(block, "")
	for line := range strings.SplitSeq(block, "\n") {
		line, _, _ = strings.Cut(line, "  # ")
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}
