//! What the scanner knows of each language.

/// A language.
pub struct Language {
    /// Ends of file names, names of code blocks, and whole file names, in lower case.
    names: &'static [&'static str],
    /// What comments until the end of the line begin with.
    pub line_comments: &'static [&'static str],
    /// What comments over several lines begin and end with.
    pub block_comments: &'static [(&'static str, &'static str)],
    /// Strings; longer openings first.
    pub strings: &'static [Quote],
    /// Words of the language, separated by spaces.
    pub keywords: &'static str,
    /// Words that are values, separated by spaces.
    pub values: &'static str,
    /// Whether keywords are the same in upper case.
    pub is_case_free: bool,
    /// What besides letters, digits and `_` is in a word.
    pub in_words: &'static str,
    /// What is particular.
    pub kind: Kind,
}

/// How a string begins and ends.
pub struct Quote {
    /// What it begins with.
    pub open: &'static str,
    /// What it ends with.
    pub close: &'static str,
    /// Whether a backslash takes the meaning from what follows it.
    pub has_escapes: bool,
    /// Whether it may go on in the next line.
    pub is_long: bool,
}

/// How a language is scanned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words, of which those before a bracket are called and those in upper case are types.
    Code,
    /// As [`Kind::Code`], and a quote may begin a lifetime.
    Rust,
    /// Keys before a colon or an equals sign, and values.
    Keys,
    /// Tags with attributes.
    Tags,
    /// Headings, and code between backquotes.
    Markdown,
    /// Lines that begin with `+` or `-`.
    Diff,
}

const fn quote(open: &'static str, close: &'static str, has_escapes: bool, is_long: bool) -> Quote {
    Quote { open, close, has_escapes, is_long }
}

const DOUBLE: Quote = quote("\"", "\"", true, false);
const SINGLE: Quote = quote("'", "'", true, false);
const PLAIN_SINGLE: Quote = quote("'", "'", false, true);
const C_COMMENT: (&str, &str) = ("/*", "*/");

const PLAIN: Language = Language {
    names: &[],
    line_comments: &[],
    block_comments: &[],
    strings: &[DOUBLE, SINGLE],
    keywords: "",
    values: "true false null",
    is_case_free: false,
    in_words: "",
    kind: Kind::Code,
};

/// C and those that look like it.
const C_LIKE: Language = Language { line_comments: &["//"], block_comments: &[C_COMMENT], ..PLAIN };
const HASH: Language = Language { line_comments: &["#"], ..PLAIN };

static LANGUAGES: &[Language] = &[
    Language {
        names: &["rs", "rust"],
        strings: &[
            quote("r##\"", "\"##", false, true),
            quote("r#\"", "\"#", false, true),
            quote("\"", "\"", true, true),
        ],
        keywords: "as async await break const continue crate dyn else enum extern fn for if impl in let loop match mod move mut \
                   pub ref return self static struct super trait type union unsafe use where while",
        values: "true false None Some Ok Err Self",
        kind: Kind::Rust,
        ..C_LIKE
    },
    Language {
        names: &["py", "pyi", "python", "python3"],
        strings: &[quote("\"\"\"", "\"\"\"", true, true), quote("'''", "'''", true, true), DOUBLE, SINGLE],
        keywords: "and as assert async await break case class continue def del elif else except finally for from global if \
                   import in is lambda match nonlocal not or pass raise return try while with yield self",
        values: "True False None",
        ..HASH
    },
    Language {
        names: &["js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "javascript", "typescript"],
        strings: &[DOUBLE, SINGLE, quote("`", "`", true, true)],
        keywords: "abstract as async await break case catch class const continue debugger declare default delete do else enum \
                   export extends finally for from function get if implements import in instanceof interface let new of \
                   private protected public readonly return set static super switch this throw try type typeof var void \
                   while with yield",
        values: "true false null undefined NaN Infinity",
        in_words: "$",
        ..C_LIKE
    },
    Language {
        names: &["c", "h", "cc", "cpp", "cxx", "hpp", "hh", "ino", "c++", "m", "mm"],
        keywords: "alignas alignof auto bool break case catch char class const constexpr continue decltype default delete do \
                   double else enum explicit export extern final float for friend goto if inline int long mutable namespace \
                   new noexcept operator override private protected public register return short signed sizeof static struct \
                   switch template this throw try typedef typename union unsigned using virtual void volatile while",
        values: "true false NULL nullptr",
        ..C_LIKE
    },
    Language {
        names: &["java", "kt", "kts", "kotlin", "scala", "groovy", "gradle", "cs", "csharp", "dart", "swift"],
        strings: &[quote("\"\"\"", "\"\"\"", true, true), DOUBLE, SINGLE],
        keywords: "abstract as assert async await bool boolean break byte case catch char class const continue data def default do double \
                   else enum extends extension final finally float for foreach fun func get guard if implements import in init int \
                   interface internal is let long match namespace new object open operator out override package private \
                   protected protocol public readonly record return sealed set short static struct super switch this throw throws trait \
                   try typealias using val var void when where while yield",
        values: "true false null nil self it",
        ..C_LIKE
    },
    Language {
        names: &["go", "golang"],
        strings: &[DOUBLE, quote("`", "`", false, true), SINGLE],
        keywords: "break case chan const continue default defer else fallthrough for func go goto if import interface map \
                   package range return select struct switch type var",
        values: "true false nil iota",
        ..C_LIKE
    },
    Language {
        names: &["php"],
        line_comments: &["//", "#"],
        keywords: "abstract and array as break case catch class clone const continue declare default do echo else elseif enum \
                   extends final finally fn for foreach function global if implements include instanceof interface match \
                   namespace new or private protected public readonly require require_once return static switch throw trait \
                   try use var while yield",
        values: "true false null",
        is_case_free: true,
        in_words: "$",
        ..C_LIKE
    },
    Language {
        names: &["css", "scss", "less"],
        keywords: "important media import supports keyframes layer container font-face root",
        in_words: "-",
        kind: Kind::Keys,
        block_comments: &[C_COMMENT],
        ..PLAIN
    },
    Language {
        names: &["rb", "ruby", "rake", "gemspec", "gemfile", "rakefile", "ex", "exs", "elixir", "cr"],
        keywords: "alias and begin break case class def defmodule defp do else elsif end ensure fn for if import in module next not or \
                   raise redo require rescue retry return self super then undef unless until use when while with yield",
        values: "true false nil",
        in_words: "?!@",
        ..HASH
    },
    Language {
        names: &["sh", "bash", "zsh", "fish", "shell", "console", "dockerfile", "justfile", "makefile", "mk"],
        strings: &[quote("\"", "\"", true, true), PLAIN_SINGLE],
        keywords: "if then else elif fi for while until do done case esac function in return local export set unset shift exit \
                   trap source eval exec read FROM RUN COPY ADD ENV ARG CMD ENTRYPOINT WORKDIR USER EXPOSE VOLUME LABEL \
                   include ifeq ifdef ifndef endif define endef",
        values: "",
        in_words: "-",
        ..HASH
    },
    Language {
        names: &["pl", "pm", "perl", "r", "jl", "julia", "nim", "coffee", "tcl", "awk", "cmake"],
        keywords: "and begin break catch const continue do else elseif elsif end export finally for foreach function global if \
                   import in let library local my next not or our package proc quote repeat require return sub then try unless \
                   until use using while",
        values: "TRUE FALSE NULL NA true false nothing undef",
        ..HASH
    },
    Language {
        names: &["sql"],
        line_comments: &["--"],
        block_comments: &[C_COMMENT],
        strings: &[PLAIN_SINGLE, DOUBLE],
        keywords: "add all alter and as asc begin between by case check column commit constraint create cross default delete \
                   desc distinct drop else end exists foreign from full group having if in index inner insert into is join key \
                   left like limit not offset on or order outer primary references returning right rollback select set table \
                   then transaction trigger union unique update using values view when where with",
        is_case_free: true,
        ..PLAIN
    },
    Language {
        names: &["lua"],
        line_comments: &["--"],
        block_comments: &[("--[[", "]]")],
        keywords: "and break do else elseif end for function goto if in local not or repeat return then until while",
        values: "true false nil self",
        ..PLAIN
    },
    Language {
        names: &["hs", "elm", "purs", "haskell", "ml", "mli", "fs", "ocaml", "f#"],
        line_comments: &["--", "//"],
        block_comments: &[("{-", "-}"), ("(*", "*)")],
        strings: &[DOUBLE],
        keywords: "and as begin case class data deriving do else end exception forall fun function functor if import in \
                   infix infixl infixr instance let match module mutable newtype of open rec sig struct then type val when \
                   where with",
        in_words: "'",
        ..PLAIN
    },
    Language {
        names: &["lisp", "el", "clj", "cljs", "scm", "rkt"],
        line_comments: &[";"],
        strings: &[quote("\"", "\"", true, true)],
        keywords: "def defn defun defmacro define do fn if lambda let let* loop ns quote recur require set! when",
        values: "nil t true false",
        in_words: "-*!?+<>=",
        ..PLAIN
    },
    Language {
        names: &["json", "jsonl", "json5", "geojson", "ipynb"],
        line_comments: &["//"],
        kind: Kind::Keys,
        ..PLAIN
    },
    Language {
        names: &["yaml", "yml"],
        values: "true false null yes no on off",
        in_words: "-",
        kind: Kind::Keys,
        ..HASH
    },
    Language {
        names: &[
            "toml",
            "ini",
            "cfg",
            "conf",
            "properties",
            "env",
            "lock",
            "editorconfig",
            "museattributes",
            "museignore",
            "gitignore",
        ],
        line_comments: &["#", ";"],
        strings: &[
            quote("\"\"\"", "\"\"\"", true, true),
            quote("'''", "'''", false, true),
            DOUBLE,
            quote("'", "'", false, false),
        ],
        in_words: "-",
        kind: Kind::Keys,
        ..PLAIN
    },
    Language {
        names: &["html", "htm", "xml", "svg", "xhtml", "vue", "svelte", "plist", "musicxml", "rss", "xsl"],
        block_comments: &[("<!--", "-->")],
        in_words: "-:",
        kind: Kind::Tags,
        ..PLAIN
    },
    Language { names: &["md", "markdown"], strings: &[], values: "", kind: Kind::Markdown, ..PLAIN },
    Language { names: &["diff", "patch"], strings: &[], values: "", kind: Kind::Diff, ..PLAIN },
];

/// The language that a path or the name of a code block says.
pub fn of(name: &str) -> Option<&'static Language> {
    let file = name.rsplit('/').next().unwrap_or_default();
    let end = file.rsplit('.').next().unwrap_or_default();
    LANGUAGES.iter().find(|language| language.names.iter().any(|name| end.eq_ignore_ascii_case(name)))
}
