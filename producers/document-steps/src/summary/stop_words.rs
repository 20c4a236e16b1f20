//! Words that every text of a language uses. Those of one and two letters are no keywords anyway and not listed.

/// Whether the word, in lowercase, is a stop word: of its language when there is a list for it, of any list when the language is not known.
pub(super) fn is_stop_word(word: &str, language: &str) -> bool {
    match language {
        "eng" => has(&ENGLISH, word),
        "deu" => has(&GERMAN, word),
        "fra" => has(&FRENCH, word),
        "spa" => has(&SPANISH, word),
        "und" => [&ENGLISH[..], &GERMAN, &FRENCH, &SPANISH].iter().any(|list| has(list, word)),
        _ => false,
    }
}

fn has(sorted: &[&str], word: &str) -> bool {
    sorted.binary_search(&word).is_ok()
}

#[rustfmt::skip] // A table: one word a line would hide it.
const ENGLISH: [&str; 141] = [
    "about", "after", "again", "ain", "all", "also", "and", "another", "any", "are", "because", "been", "before", "being",
    "between", "both", "but", "can", "come", "could", "did", "didn", "does", "doesn", "doing", "don", "done", "down", "during",
    "each", "even", "ever", "every", "few", "first", "for", "from", "further", "get", "good", "had", "has", "have", "her",
    "here", "hers", "herself", "him", "himself", "his", "how", "into", "isn", "its", "itself", "just", "know", "let", "like",
    "long", "make", "many", "may", "more", "most", "much", "must", "myself", "never", "new", "nor", "not", "now", "off", "once",
    "one", "only", "other", "our", "ours", "out", "over", "own", "same", "say", "see", "shan", "she", "should", "since", "some",
    "still", "such", "take", "than", "that", "the", "their", "theirs", "them", "themselves", "then", "there", "these", "they",
    "this", "those", "through", "time", "too", "two", "under", "until", "upon", "use", "very", "want", "was", "wasn", "well",
    "were", "weren", "what", "when", "where", "which", "while", "who", "whose", "why", "will", "with", "within", "without",
    "won", "would", "yet", "you", "your", "yours", "yourself",
];

#[rustfmt::skip] // A table: one word a line would hide it.
const GERMAN: [&str; 170] = [
    "aber", "alle", "allem", "allen", "aller", "alles", "als", "ander", "andere", "anderen", "auch", "auf", "aus", "bei",
    "beide", "beim", "bereits", "bin", "bis", "bist", "damit", "dann", "das", "dass", "dazu", "daß", "dein", "deine", "dem",
    "den", "denn", "der", "des", "dich", "die", "diese", "diesem", "diesen", "dieser", "dieses", "dir", "doch", "dort", "durch",
    "ein", "eine", "einem", "einen", "einer", "eines", "einige", "etwa", "etwas", "euch", "euer", "für", "gegen", "gewesen",
    "hab", "habe", "haben", "hat", "hatte", "hatten", "hier", "hin", "ich", "ihm", "ihn", "ihnen", "ihr", "ihre", "ihrem",
    "ihren", "ihrer", "immer", "indem", "ins", "ist", "jede", "jedem", "jeden", "jeder", "jedes", "jener", "jetzt", "kann",
    "kein", "keine", "keinem", "keinen", "keiner", "können", "könnte", "machen", "man", "manche", "mehr", "mein", "meine",
    "mich", "mir", "mit", "muss", "müssen", "nach", "nicht", "nichts", "noch", "nun", "nur", "oder", "ohne", "schon", "sehr",
    "sei", "sein", "seine", "seinem", "seinen", "seiner", "seit", "sich", "sie", "sind", "solche", "soll", "sollen", "sollte",
    "sondern", "sonst", "sowie", "und", "uns", "unser", "unsere", "unter", "vom", "von", "vor", "war", "waren", "warum", "was",
    "weil", "weiter", "welche", "welcher", "wenn", "wer", "werde", "werden", "wie", "wieder", "will", "wir", "wird", "wirst",
    "wollen", "wurde", "wurden", "während", "würde", "würden", "zum", "zur", "zwar", "zwei", "zwischen", "über",
];

#[rustfmt::skip] // A table: one word a line would hide it.
const FRENCH: [&str; 125] = [
    "afin", "ainsi", "ait", "alors", "après", "aussi", "autre", "autres", "aux", "avaient", "avait", "avant", "avec", "avoir",
    "ayant", "bien", "car", "ceci", "cela", "celle", "celles", "celui", "ces", "cet", "cette", "ceux", "chaque", "chez",
    "comme", "contre", "dans", "depuis", "des", "deux", "donc", "dont", "elle", "elles", "encore", "entre", "est", "eut", "eux",
    "fait", "fois", "ici", "ils", "jusque", "les", "leur", "leurs", "lors", "lorsque", "lui", "mais", "mes", "moi", "moins",
    "mon", "même", "non", "nos", "notre", "nous", "nul", "ont", "par", "pas", "peu", "peut", "peuvent", "plus", "plusieurs",
    "pour", "puis", "quand", "que", "quel", "quelle", "quelles", "quels", "qui", "quoi", "rien", "sans", "sauf", "selon",
    "sera", "serait", "seront", "ses", "seulement", "soi", "sommes", "son", "sont", "sous", "suis", "sur", "tant", "tel",
    "telle", "tes", "toi", "ton", "toujours", "tous", "tout", "toute", "toutes", "trop", "très", "une", "vers", "voici",
    "voilà", "vos", "votre", "vous", "étaient", "était", "étant", "été", "êtes", "être",
];

#[rustfmt::skip] // A table: one word a line would hide it.
const SPANISH: [&str; 118] = [
    "algo", "algunas", "algunos", "ante", "antes", "aquel", "aquella", "así", "aunque", "aún", "bajo", "cada", "como", "con",
    "contra", "cual", "cuales", "cuando", "cuya", "cuyo", "del", "desde", "después", "donde", "dos", "durante", "ella", "ellas",
    "ellos", "entre", "era", "eran", "esa", "esas", "ese", "eso", "esos", "esta", "estaba", "estar", "estas", "este", "esto",
    "estos", "está", "están", "fue", "fueron", "haber", "había", "habían", "han", "has", "hasta", "hay", "las", "les", "los",
    "mis", "misma", "mismo", "mucho", "muchos", "muy", "más", "nada", "nos", "nosotros", "nuestra", "nuestras", "nuestro",
    "nuestros", "otra", "otras", "otro", "otros", "para", "pero", "poco", "por", "porque", "puede", "pueden", "pues", "que",
    "quien", "quienes", "según", "ser", "será", "serán", "sido", "siendo", "sin", "sino", "sobre", "solo", "son", "sus", "sólo",
    "también", "tan", "tanto", "tener", "tiene", "tienen", "toda", "todas", "todo", "todos", "tus", "una", "unas", "uno",
    "unos", "usted", "ustedes", "vosotros",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_as_the_search_needs_them() {
        for list in [&ENGLISH[..], &GERMAN, &FRENCH, &SPANISH] {
            assert!(list.is_sorted_by(|a, b| a < b));
        }
    }
}
