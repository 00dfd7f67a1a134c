// Messages as a page shows them before the server knows of them.

/** Return a question that is being sent, and the row of its answer. */
export function anticipate({ id, text, author }) {
  const question = makeDraft("message--user", "message__question", text);
  question.id = `message-${id}`;
  question.dataset.message = id;
  const answer = makeDraft("message--assistant", "message__sending", "Sending …");
  const heading = document.createElement("h2");
  heading.className = "message__author";
  heading.textContent = author;
  answer.prepend(heading);
  return [question, answer];
}

function makeDraft(kind, part, text) {
  const article = document.createElement("article");
  article.className = `message ${kind} message--draft`;
  const words = document.createElement("div");
  words.className = part;
  words.dir = "auto";
  words.textContent = text;
  article.append(words);
  return article;
}
