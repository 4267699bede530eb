const place = document.getElementById("swagger");
SwaggerUIBundle({
  domNode: place,
  url: place.dataset.spec,
  tryItOutEnabled: true,
  defaultModelsExpandDepth: -1,
  validatorUrl: null,
});
